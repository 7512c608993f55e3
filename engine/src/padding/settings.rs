//! Reads the settings of padding, and checks them against the graph.

use super::{Axes, PaddedInput, Padding};
use crate::config::{Fill, PaddingConfig};
use crate::signature::{Signature, TensorSpec, list};
use crate::tensor::DataType;
use half::{bf16, f16};
use smallvec::SmallVec;

/// Rule for the dimensions that have the same size in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ties {
    /// Dimensions with the same name in the graph; unnamed ones as with `Position`.
    Name,
    /// Dimensions at the same position of their inputs.
    Position,
}

/// Key of an axis: a name, or a position.
type Tie<'a> = Result<&'a str, usize>;

/// Reads the padded inputs from the settings. The axes of outputs are not known before the model has
/// run.
///
/// # Errors
/// Names the key that does not fit the graph.
pub(crate) fn read(
    config: &PaddingConfig,
    signature: &Signature,
    ties: Ties,
) -> Result<Padding, String> {
    let mut known: Vec<Tie<'_>> = Vec::new();
    let mut inputs = vec![None; signature.inputs.len()];
    for (name, fill) in &config.inputs {
        let named = |error: String| format!("padding.inputs.{name}: {error}");
        let index = signature.input_index(name);
        let index = index.ok_or_else(|| named(no_such_input(signature)))?;
        let spec = &signature.inputs[index];
        let fill = element(*fill, spec.datatype).ok_or_else(|| {
            named(format!("its elements are {}, and none of them is {fill}", spec.datatype))
        })?;
        let axes = axes(spec, ties, &mut known);
        if axes.iter().all(Option::is_none) {
            let dims = list(spec.wire_dims());
            let error = format!("no dimension but the first is open in the graph ({dims})");
            return Err(named(error));
        }
        inputs[index] = Some(PaddedInput { axes, fill });
    }
    match missing_input(&inputs, signature, ties, &known) {
        Some(error) => Err(error),
        None => Ok(Padding { inputs, outputs: Vec::new(), axes: known.len() }),
    }
}

fn no_such_input(signature: &Signature) -> String {
    let names = signature.inputs.iter().map(|spec| format!("'{}'", spec.name));
    format!("the model has no such input; its inputs are {}", list(names))
}

fn axes<'s>(spec: &'s TensorSpec, ties: Ties, known: &mut Vec<Tie<'s>>) -> Axes {
    let mut axis = |dim: usize| {
        let tie = tie(spec, dim, ties)?;
        Some(known.iter().position(|other| *other == tie).unwrap_or_else(|| {
            known.push(tie);
            known.len() - 1
        }))
    };
    (0..spec.dims.len()).map(&mut axis).collect()
}

/// Key of a dimension; `None` for the first dimension and for those of a fixed size.
fn tie(spec: &TensorSpec, dim: usize, ties: Ties) -> Option<Tie<'_>> {
    if dim == 0 || spec.dims[dim].is_some() {
        return None;
    }
    let name = spec.dim_names.get(dim).filter(|name| ties == Ties::Name && !name.is_empty());
    Some(name.map(String::as_str).ok_or(dim))
}

/// Finds an input that is not padded but shares an axis with padded ones.
fn missing_input(
    inputs: &[Option<PaddedInput>],
    signature: &Signature,
    ties: Ties,
    known: &[Tie<'_>],
) -> Option<String> {
    let unpadded = inputs.iter().zip(&signature.inputs).filter(|(padded, _)| padded.is_none());
    unpadded.map(|(_, spec)| spec).find_map(|spec| {
        let mut ties = (0..spec.dims.len()).filter_map(|dim| tie(spec, dim, ties));
        let dim = ties.find(|tie| tie.is_ok() && known.contains(tie))?.ok()?;
        let name = &spec.name;
        Some(format!(
            "padding.inputs leaves out '{name}', which has the padded dimension '{dim}' too"
        ))
    })
}

/// Bytes of a fill value as an element; `None` if the datatype can not hold it.
fn element(value: Fill, datatype: DataType) -> Option<SmallVec<[u8; 8]>> {
    let is_float =
        matches!(datatype, DataType::Fp16 | DataType::Bf16 | DataType::Fp32 | DataType::Fp64);
    match value {
        Fill::Float(float) if is_float => float_bytes(float, datatype),
        Fill::Integer(integer) if is_float => float_bytes(integer as f64, datatype),
        Fill::Integer(integer) => integer_bytes(integer, datatype),
        Fill::Bool(bit) if datatype == DataType::Bool => integer_bytes(bit.into(), datatype),
        Fill::Float(_) | Fill::Bool(_) => None,
    }
}

fn integer_bytes(integer: i64, datatype: DataType) -> Option<SmallVec<[u8; 8]>> {
    let range = match datatype {
        DataType::Bool => 0..=1,
        DataType::Uint8 => 0..=u8::MAX.into(),
        DataType::Uint16 => 0..=u16::MAX.into(),
        DataType::Uint32 => 0..=u32::MAX.into(),
        DataType::Uint64 => 0..=i64::MAX,
        DataType::Int8 => i8::MIN.into()..=i8::MAX.into(),
        DataType::Int16 => i16::MIN.into()..=i16::MAX.into(),
        DataType::Int32 => i32::MIN.into()..=i32::MAX.into(),
        DataType::Int64 => i64::MIN..=i64::MAX,
        _ => return None,
    };
    let bytes = &integer.to_le_bytes()[..datatype.element_bytes()?];
    range.contains(&integer).then(|| bytes.into())
}

fn float_bytes(float: f64, datatype: DataType) -> Option<SmallVec<[u8; 8]>> {
    let (rounded, bytes): (f64, SmallVec<[u8; 8]>) = match datatype {
        DataType::Fp16 => {
            let half = f16::from_f64(float);
            (half.into(), half.to_le_bytes().as_slice().into())
        }
        DataType::Bf16 => {
            let half = bf16::from_f64(float);
            (half.into(), half.to_le_bytes().as_slice().into())
        }
        DataType::Fp32 => {
            let single = float as f32;
            (single.into(), single.to_le_bytes().as_slice().into())
        }
        _ => (float, float.to_le_bytes().as_slice().into()),
    };
    // Rounding is fine, but not to infinity.
    (rounded.is_finite() || !float.is_finite()).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::spec;
    use smallvec::smallvec;

    /// A signature of tokens and their mask `[batch, sequence]`, an image `[batch, 3, ?, ?]`, a label
    /// `[batch]` and a text `[batch, ?]`.
    fn signature() -> Signature {
        let named = |name: &str, datatype| {
            let dim_names = vec!["batch".into(), "sequence".into()];
            TensorSpec { dim_names, ..spec(name, datatype, &[None, None]) }
        };
        Signature {
            inputs: vec![
                named("tokens", DataType::Int64),
                named("mask", DataType::Bool),
                spec("image", DataType::Fp16, &[None, Some(3), None, None]),
                spec("label", DataType::Int8, &[None]),
                spec("text", DataType::Bytes, &[None, None]),
            ],
            ..crate::testing::signature()
        }
    }

    fn read_toml(toml: &str, ties: Ties) -> Result<Padding, String> {
        let config = crate::config::ModelConfig::from_toml(toml)?;
        read(&config.padding, &signature(), ties)
    }

    fn axes(padding: &Padding) -> Vec<Option<&[Option<usize>]>> {
        padding.inputs.iter().map(|input| input.as_ref().map(|input| &*input.axes)).collect()
    }

    #[test]
    fn named_dimensions_share_an_axis_by_name_and_others_by_position() {
        let toml = "padding.inputs = { tokens = 1, mask = false, image = -0.5 }";
        let padding = read_toml(toml, Ties::Name).unwrap();
        let (image, text) = ([None, None, Some(0), Some(1)], [None, Some(2)]);
        assert_eq!(axes(&padding)[..3], [Some(&text[..]), Some(&text), Some(&image)]);
        assert_eq!((padding.axes, axes(&padding)[3]), (3, None));
        let fills: Vec<_> = padding.inputs.iter().flatten().map(|input| &*input.fill).collect();
        assert_eq!(fills, [&[1, 0, 0, 0, 0, 0, 0, 0][..], &[0], &[0, 0xb8]]);
    }

    #[test]
    fn ties_by_position_ignore_names() {
        // The mask is not tied to the tokens then. A test of the model finds that out.
        let padding = read_toml("padding.inputs.tokens = 0", Ties::Position).unwrap();
        assert_eq!(axes(&padding)[..2], [Some(&[None, Some(0)][..]), None]);
    }

    #[test]
    fn settings_that_do_not_fit_the_graph_are_named() {
        for (toml, wanted) in [
            ("padding.inputs.x = 0", "padding.inputs.x: the model has no such input; its inputs"),
            (
                "padding.inputs.label = 0",
                "padding.inputs.label: no dimension but the first is open",
            ),
            ("padding.inputs.text = 0", "padding.inputs.text: its elements are BYTES, and none"),
            ("padding.inputs.tokens = 0.5", "its elements are INT64, and none of them is 0.5"),
            ("padding.inputs.mask = 2", "padding.inputs.mask: its elements are BOOL"),
            ("padding.inputs.image = 1e9", "padding.inputs.image: its elements are FP16"),
            ("padding.inputs.tokens = 0", "leaves out 'mask', which has the padded dimension 'seq"),
            ("padding.inputs.tokens = '0'", "a number or a boolean"),
        ] {
            let error = read_toml(toml, Ties::Name).unwrap_err();
            assert!(error.contains(wanted), "'{error}' should say '{wanted}'");
        }
    }

    #[test]
    fn a_fill_is_an_element_of_its_datatype() {
        let bytes = |fill, datatype| element(fill, datatype).map(|bytes| bytes.to_vec());
        for datatype in DataType::ALL {
            let one = bytes(Fill::Integer(1), datatype);
            assert_eq!(one.map(|bytes| bytes.len()), datatype.element_bytes(), "{datatype}");
            let is_float = bytes(Fill::Float(0.5), datatype).is_some();
            assert_eq!(is_float, bytes(Fill::Float(f64::NEG_INFINITY), datatype).is_some());
            assert_eq!(is_float, datatype.name().contains('F'), "{datatype}");
            assert_eq!(bytes(Fill::Bool(true), datatype).is_some(), datatype == DataType::Bool);
        }
        assert_eq!(bytes(Fill::Integer(-2), DataType::Int16), Some(vec![0xfe, 0xff]));
        assert_eq!(bytes(Fill::Integer(-1), DataType::Uint16), None);
        assert_eq!(bytes(Fill::Integer(128), DataType::Int8), None);
        assert_eq!(bytes(Fill::Float(1e39), DataType::Fp32), None);
        let half: SmallVec<[u8; 8]> = smallvec![0, 0, 0, 0x3f];
        assert_eq!(element(Fill::Float(0.5), DataType::Fp32), Some(half));
    }
}
