//! The classification extension: instead of an output's scores, the highest ones with their
//! classes and labels, as strings `SCORE:CLASS:LABEL`.

use crate::decode::Decoded;
use crate::http::{OFFLOAD_BYTES, offload};
use crate::status::Error;
use half::{bf16, f16};
use skysail_engine::endpoint::Endpoint;
use skysail_engine::labels::Labels;
use skysail_engine::request::{OutputTensor, Response};
use skysail_engine::tensor::{DataType, Shape, elements, push_bytes_element};
use std::cmp::Ordering;
use std::io::Write;

/// Most classes that one output returns, over all of its rows.
const CLASSES_MAX: usize = 1 << 20;

/// Checks that outputs that are to be classes have scores. Unknown outputs are left to the engine.
///
/// # Errors
/// When the elements of an output are no numbers.
pub(crate) fn check(endpoint: &Endpoint, decoded: &Decoded) -> Result<(), Error> {
    let signature = endpoint.signature();
    let datatype = |name| signature.output_index(name).map(|at| signature.outputs[at].datatype);
    for (name, known) in decoded.request.outputs.iter().zip(&decoded.outputs) {
        if known.classes > 0
            && let Some(datatype @ (DataType::Bool | DataType::Bytes)) = datatype(name)
        {
            return Err(Error::malformed(format!(
                "output '{name}' has datatype {datatype}: parameter 'classification' needs numbers"
            )));
        }
    }
    Ok(())
}

/// Replaces the scores of outputs by classes where the request asks for that.
///
/// # Errors
/// When the response would be too large.
pub(crate) fn classify_outputs(
    endpoint: &Endpoint,
    response: &mut Response,
    decoded: &Decoded,
) -> Result<(), Error> {
    for (output, known) in response.outputs.iter_mut().zip(&decoded.outputs) {
        if known.classes > 0 {
            let (has_rows, labels) =
                (endpoint.batching().is_on(), endpoint.model().labels(&output.name));
            let is_long = output.data.len() >= OFFLOAD_BYTES;
            offload(is_long, || classify(output, known.classes, has_rows, labels))?;
        }
    }
    Ok(())
}

/// Replaces an output's scores by the `count` highest of each row, or of all if `has_rows` is false.
///
/// # Errors
/// When the output has no scores, or the response would be too large.
fn classify(
    output: &mut OutputTensor,
    count: usize,
    has_rows: bool,
    labels: Option<&Labels>,
) -> Result<(), Error> {
    let (rows, of_row) = match output.shape.split_first() {
        Some((rows, of_row)) if has_rows => (Some(*rows), of_row),
        _ => (None, output.shape.as_slice()),
    };
    let classes = elements(of_row).unwrap_or(usize::MAX);
    let count = count.min(classes);
    let total = rows.unwrap_or(1).checked_mul(count).filter(|total| *total <= CLASSES_MAX);
    if total.is_none() {
        return Err(Error::malformed(format!(
            "output '{}' would return more than {CLASSES_MAX} classes: lower its parameter \
             'classification'",
            output.name
        )));
    }
    let top = Top { classes, count, labels };
    let data = &*output.data;
    let strings = match output.datatype {
        DataType::Uint8 => top.of_rows(data, u8::from_le_bytes),
        DataType::Uint16 => top.of_rows(data, u16::from_le_bytes),
        DataType::Uint32 => top.of_rows(data, u32::from_le_bytes),
        DataType::Uint64 => top.of_rows(data, u64::from_le_bytes),
        DataType::Int8 => top.of_rows(data, i8::from_le_bytes),
        DataType::Int16 => top.of_rows(data, i16::from_le_bytes),
        DataType::Int32 => top.of_rows(data, i32::from_le_bytes),
        DataType::Int64 => top.of_rows(data, i64::from_le_bytes),
        DataType::Fp16 => top.of_rows(data, |bytes| f16::from_le_bytes(bytes).to_f64()),
        DataType::Bf16 => top.of_rows(data, |bytes| bf16::from_le_bytes(bytes).to_f64()),
        DataType::Fp32 => top.of_rows(data, |bytes| f64::from(f32::from_le_bytes(bytes))),
        DataType::Fp64 => top.of_rows(data, f64::from_le_bytes),
        DataType::Bool | DataType::Bytes => {
            return Err(Error::malformed(format!("output '{}' has no scores", output.name)));
        }
    };
    let shape: Shape = rows.into_iter().chain([count]).collect();
    (output.datatype, output.shape, output.data) = (DataType::Bytes, shape, strings.into());
    Ok(())
}

/// Scores from here on have more digits than a double knows. They are written in its own digits and
/// an exponent, which clients read too: C's `%f` would write up to 309.
const LARGE_SCORE: f64 = 1e16;

/// A score, which is ordered and written.
trait Score: Copy {
    /// Orders the higher score first, and a NaN last.
    fn before(self, other: Self) -> Ordering;

    /// Appends the score as C's `%f` or `%d`, which clients of Triton parse.
    fn push(self, text: &mut Vec<u8>);
}

macro_rules! integer_scores {
    ($($type:ty),*) => {$(
        impl Score for $type {
            fn before(self, other: Self) -> Ordering {
                other.cmp(&self)
            }

            fn push(self, text: &mut Vec<u8>) {
                // Writing to memory does not fail.
                drop(write!(text, "{self}"));
            }
        }
    )*};
}

integer_scores!(u8, u16, u32, u64, i8, i16, i32, i64);

impl Score for f64 {
    fn before(self, other: Self) -> Ordering {
        let by_number = self.is_nan().cmp(&other.is_nan());
        by_number.then(other.partial_cmp(&self).unwrap_or(Ordering::Equal))
    }

    fn push(self, text: &mut Vec<u8>) {
        if self.is_nan() {
            text.extend_from_slice(b"nan");
        } else if self.is_finite() && self.abs() >= LARGE_SCORE {
            text.extend_from_slice(ryu::Buffer::new().format_finite(self).as_bytes());
        } else {
            drop(write!(text, "{self:.6}"));
        }
    }
}

/// The highest scores of a row.
struct Top<'a> {
    /// Scores of a row.
    classes: usize,
    /// Scores to return of each row, at most `classes`.
    count: usize,
    labels: Option<&'a Labels>,
}

impl Top<'_> {
    /// The strings of all rows, in the form of `BYTES` elements.
    fn of_rows<T: Score, const N: usize>(
        &self,
        data: &[u8],
        score: impl Fn([u8; N]) -> T,
    ) -> Vec<u8> {
        let (mut strings, mut scores, mut order) = (Vec::new(), Vec::new(), Vec::new());
        let mut text = Vec::new();
        for row in data.as_chunks().0.chunks_exact(self.classes.max(1)) {
            scores.clear();
            scores.extend(row.iter().map(|element| score(*element)));
            self.find(&scores, &mut order);
            for &class in &order {
                text.clear();
                self.push(&mut text, class, scores[class]);
                push_bytes_element(&mut strings, &text);
            }
        }
        strings
    }

    /// Sets `order` to the highest classes. Of equal scores, the lower class goes first.
    fn find<T: Score>(&self, scores: &[T], order: &mut Vec<usize>) {
        order.clear();
        order.extend(0..scores.len());
        let compare = |a: &usize, b: &usize| scores[*a].before(scores[*b]).then(a.cmp(b));
        if self.count < order.len() {
            order.select_nth_unstable_by(self.count, compare);
            order.truncate(self.count);
        }
        order.sort_unstable_by(compare);
    }

    fn push<T: Score>(&self, text: &mut Vec<u8>, class: usize, score: T) {
        score.push(text);
        drop(write!(text, ":{class}"));
        if let Some(label) = self.labels.and_then(|labels| labels.get(class)) {
            drop(write!(text, ":{label}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use skysail_engine::tensor::bytes_elements;

    fn output(datatype: DataType, shape: &[usize], data: Vec<u8>) -> OutputTensor {
        OutputTensor { name: "y".into(), datatype, shape: shape.into(), data: data.into() }
    }

    fn floats(shape: &[usize], values: &[f32]) -> OutputTensor {
        let data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        output(DataType::Fp32, shape, data)
    }

    fn strings(output: &OutputTensor) -> Vec<String> {
        assert_eq!(output.datatype, DataType::Bytes);
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        bytes_elements(&output.data).map(text).collect()
    }

    #[test]
    fn each_row_has_its_own_classes() {
        let scores = [0.1, 0.7, 0.2, 0.5, 0.0, 0.5];
        let mut rows = floats(&[2, 3], &scores);
        classify(&mut rows, 2, true, None).unwrap();
        assert_eq!(rows.shape.as_slice(), [2, 2]);
        assert_eq!(strings(&rows), ["0.700000:1", "0.200000:2", "0.500000:0", "0.500000:2"]);
        let mut one = floats(&[2, 3], &scores);
        classify(&mut one, 2, false, None).unwrap();
        assert_eq!(one.shape.as_slice(), [2]);
        assert_eq!(strings(&one), ["0.700000:1", "0.500000:3"]);
        let mut deep = floats(&[1, 3, 2], &scores);
        classify(&mut deep, 1, true, None).unwrap();
        assert_eq!(
            (deep.shape.as_slice(), strings(&deep)),
            (&[1, 1][..], vec!["0.700000:1".into()])
        );
    }

    #[test]
    fn there_are_no_more_classes_than_scores() {
        let mut all = floats(&[2, 2], &[1.0, 2.0, 4.0, 3.0]);
        classify(&mut all, usize::MAX, true, None).unwrap();
        assert_eq!(all.shape.as_slice(), [2, 2]);
        for shape in [&[0, 2][..], &[3, 0]] {
            let mut none = floats(shape, &[]);
            classify(&mut none, 2, true, None).unwrap();
            assert!(strings(&none).is_empty());
            assert_eq!(elements(&none.shape), Some(0));
        }
        let mut scalar = floats(&[], &[2.5]);
        classify(&mut scalar, 3, true, None).unwrap();
        assert_eq!(
            (scalar.shape.as_slice(), strings(&scalar)),
            (&[1][..], vec!["2.500000:0".into()])
        );
    }

    #[test]
    fn a_nan_is_last_and_infinities_keep_their_order() {
        let values = [f32::NAN, f32::NEG_INFINITY, -0.0, f32::INFINITY, f32::NAN, 0.0];
        let mut all = floats(&[6], &values);
        classify(&mut all, 6, false, None).unwrap();
        let wanted = ["inf:3", "-0.000000:2", "0.000000:5", "-inf:1", "nan:0", "nan:4"];
        assert_eq!(strings(&all), wanted);
    }

    #[test]
    fn large_scores_are_short_and_the_numbers_that_they_were() {
        let values = [f64::MAX, -1.5e308, 1e16, -9_999_999_999_999_998.0];
        let mut all = output(DataType::Fp64, &[4], values.map(f64::to_le_bytes).concat());
        classify(&mut all, 4, false, None).unwrap();
        let strings = strings(&all);
        assert!(strings.iter().all(|text| text.len() < 30), "{strings:?}");
        for text in strings {
            let (score, class) = text.split_once(':').unwrap();
            assert_eq!(score.parse::<f64>().unwrap(), values[class.parse::<usize>().unwrap()]);
        }
    }

    #[test]
    fn numbers_of_every_datatype_are_scores() {
        for (datatype, data, wanted) in [
            (DataType::Uint8, vec![200, 3], "200:0"),
            (DataType::Int8, vec![200, 3], "3:1"),
            (
                DataType::Uint64,
                [u64::MAX - 1, u64::MAX].map(u64::to_le_bytes).concat(),
                "18446744073709551615:1",
            ),
            (DataType::Int16, [-5_i16, -6].map(i16::to_le_bytes).concat(), "-5:0"),
            (DataType::Fp64, [1e300, 0.25].map(f64::to_le_bytes).concat(), "1e300:0"),
            (DataType::Fp16, [f16::ONE, f16::NAN].map(f16::to_le_bytes).concat(), "1.000000:0"),
            (
                DataType::Bf16,
                [1.0, 128.0].map(bf16::from_f32).map(bf16::to_le_bytes).concat(),
                "128.000000:1",
            ),
        ] {
            let mut one = output(datatype, &[2], data);
            classify(&mut one, 1, false, None).unwrap();
            assert_eq!(strings(&one), [wanted], "{datatype}");
        }
        for datatype in [DataType::Bool, DataType::Bytes] {
            assert!(classify(&mut output(datatype, &[1], vec![1]), 1, false, None).is_err());
        }
    }

    #[test]
    fn the_number_of_classes_is_limited() {
        let mut large = output(DataType::Uint8, &[1025, 1024], vec![0; 1025 * 1024]);
        let error = classify(&mut large, 1024, true, None).unwrap_err().to_string();
        assert!(error.contains("more than 1048576 classes"), "{error}");
        assert_eq!(large.datatype, DataType::Uint8);
        classify(&mut large, 1023, true, None).unwrap();
    }

    proptest! {
        #[test]
        fn the_highest_are_those_of_a_full_sort(
            values in prop::collection::vec(-3_i8..3, 1..40),
            count in 1_usize..50,
        ) {
            let mut wanted: Vec<_> = values.iter().copied().enumerate().collect();
            wanted.sort_by_key(|(_, value)| -value);
            let wanted = wanted.iter().take(count).map(|(class, value)| format!("{value}:{class}"));
            let data = values.iter().map(|value| *value as u8).collect();
            let mut found = output(DataType::Int8, &[values.len()], data);
            classify(&mut found, count, false, None).unwrap();
            prop_assert_eq!(strings(&found), wanted.collect::<Vec<_>>());
        }
    }
}
