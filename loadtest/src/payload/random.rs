//! Random requests that fit a model's metadata.

use super::elements::append_text;
use super::{BYTES_MAX, DataType, Error, Input, Payload, element_count};
use half::{bf16, f16};
use rand::Rng;
use rand::SeedableRng;
use rand::rngs::StdRng;
use skysail_protocol::json::{ModelMetadata, Parameters, TensorMetadata};

/// Characters in each element of BYTES.
const LETTERS: usize = 8;

/// Options of a random request.
#[derive(Clone, Debug)]
pub struct Random {
    /// Size of variable first dimensions, above 0.
    pub rows: usize,
    /// Whole shapes of inputs, by name.
    pub shapes: Vec<(String, Vec<i64>)>,
    /// Seed of the elements.
    pub seed: u64,
}

/// Makes a random request. Variable dimensions are [`Random::rows`] where they come first and 1
/// elsewhere. Floats lie in `0..1`; integers are 0 or 1, which are valid indices and masks.
/// Optional inputs are left out, unless their shape is given.
///
/// # Errors
/// Fails if the model does not accept the options, or the request is too large.
pub fn random(model: &ModelMetadata, how: &Random) -> Result<Payload, Error> {
    check_names(model, how)?;
    let mut generator = StdRng::seed_from_u64(how.seed);
    let mut bytes_left = BYTES_MAX;
    let mut inputs = Vec::with_capacity(model.inputs.len());
    let optional = model.optional_inputs();
    let is_wanted = |tensor: &&TensorMetadata| {
        let is_given = how.shapes.iter().any(|(name, _)| *name == tensor.name);
        is_given || !optional.contains(&tensor.name)
    };
    for tensor in model.inputs.iter().filter(is_wanted) {
        let datatype = DataType::from_name(&tensor.datatype).ok_or_else(|| Error::Datatype {
            input: tensor.name.clone(),
            datatype: tensor.datatype.clone(),
        })?;
        let shape = shape_of(tensor, how)?;
        let elements = elements_within(&shape, datatype, &mut bytes_left)
            .ok_or_else(|| Error::TooLarge { input: tensor.name.clone() })?;
        let raw = elements_of(datatype, elements, &mut generator);
        let (name, parameters) = (tensor.name.clone(), Parameters::new());
        inputs.push(Input { name, datatype, shape, parameters, raw });
    }
    Ok(Payload { inputs, ..Payload::default() })
}

fn check_names(model: &ModelMetadata, how: &Random) -> Result<(), Error> {
    for (name, _) in &how.shapes {
        if !model.inputs.iter().any(|tensor| tensor.name == *name) {
            let known = model.inputs.iter().map(|tensor| tensor.name.clone()).collect();
            return Err(Error::NoSuchInput { name: name.clone(), known });
        }
    }
    let takes_rows = model.inputs.iter().any(|tensor| tensor.shape.first() == Some(&-1));
    if how.rows > 1 && !takes_rows {
        return Err(Error::Rows { rows: how.rows });
    }
    Ok(())
}

fn shape_of(tensor: &TensorMetadata, how: &Random) -> Result<Vec<i64>, Error> {
    if let Some((_, given)) = how.shapes.iter().find(|(name, _)| *name == tensor.name) {
        let fits = given.len() == tensor.shape.len()
            && given.iter().zip(&tensor.shape).all(|(&is, &may)| is >= 0 && (may < 0 || is == may));
        return if fits {
            Ok(given.clone())
        } else {
            let (expected, given) = (tensor.shape.clone(), given.clone());
            Err(Error::Shape { input: tensor.name.clone(), expected, given })
        };
    }
    let rows = i64::try_from(how.rows).unwrap_or(i64::MAX);
    let sizes = tensor.shape.iter().enumerate().map(|(place, &size)| match (place, size) {
        (0, ..0) => rows,
        (_, ..0) => 1,
        (_, fixed) => fixed,
    });
    Ok(sizes.collect())
}

/// Number of elements; `None` when they need more bytes than are left.
fn elements_within(shape: &[i64], datatype: DataType, bytes_left: &mut usize) -> Option<usize> {
    let elements = element_count(shape)?;
    let letters = if datatype == DataType::Bytes { LETTERS } else { 0 };
    let bytes = elements.checked_mul(datatype.size() + letters)?;
    *bytes_left = bytes_left.checked_sub(bytes)?;
    Some(elements)
}

fn elements_of(datatype: DataType, count: usize, generator: &mut StdRng) -> Vec<u8> {
    let mut raw = Vec::with_capacity(count * datatype.size());
    for _ in 0..count {
        match datatype {
            DataType::Fp16 => raw.extend(f16::from_f32(generator.random()).to_le_bytes()),
            DataType::Bf16 => raw.extend(bf16::from_f32(generator.random()).to_le_bytes()),
            DataType::Fp32 => raw.extend(generator.random::<f32>().to_le_bytes()),
            DataType::Fp64 => raw.extend(generator.random::<f64>().to_le_bytes()),
            DataType::Bytes => {
                let text: [u8; LETTERS] =
                    std::array::from_fn(|_| generator.random_range(b'a'..=b'z'));
                let _ = append_text(&text, &mut raw);
            }
            _ => {
                let value = u64::from(generator.random::<bool>());
                raw.extend(&value.to_le_bytes()[..datatype.size()]);
            }
        }
    }
    raw
}

#[cfg(test)]
mod tests {
    use super::*;
    use skysail_protocol::json::OPTIONAL_INPUTS;
    use std::collections::BTreeMap;

    fn model(inputs: &[(&str, DataType, &[i64])]) -> ModelMetadata {
        let inputs = inputs.iter().map(|(name, datatype, shape)| TensorMetadata {
            name: (*name).into(),
            datatype: datatype.name().into(),
            shape: shape.to_vec(),
        });
        ModelMetadata {
            name: "m".into(),
            versions: Vec::new(),
            platform: String::new(),
            inputs: inputs.collect(),
            outputs: Vec::new(),
            properties: BTreeMap::new(),
        }
    }

    fn how(rows: usize, shapes: &[(&str, &[i64])]) -> Random {
        let shapes = shapes.iter().map(|(name, shape)| ((*name).into(), shape.to_vec())).collect();
        Random { rows, shapes, seed: 7 }
    }

    #[test]
    fn every_datatype_has_the_right_number_of_bytes() {
        for datatype in DataType::ALL {
            let payload = random(&model(&[("x", datatype, &[-1, 3])]), &how(2, &[])).unwrap();
            let letters = if datatype == DataType::Bytes { LETTERS } else { 0 };
            assert_eq!(payload.inputs[0].raw.len(), 6 * (datatype.size() + letters));
            assert_eq!(payload.inputs[0].shape, [2, 3]);
        }
    }

    #[test]
    fn the_seed_decides_the_elements() {
        let model = model(&[("x", DataType::Fp32, &[-1, 8])]);
        let first = random(&model, &how(1, &[])).unwrap();
        assert_eq!(first, random(&model, &how(1, &[])).unwrap());
        let other = Random { seed: 8, ..how(1, &[]) };
        assert_ne!(first, random(&model, &other).unwrap());
    }

    #[test]
    fn a_given_shape_goes_before_rows() {
        let model = model(&[("x", DataType::Int8, &[-1, -1]), ("y", DataType::Int8, &[-1, -1])]);
        let payload = random(&model, &how(2, &[("y", &[5, 6])])).unwrap();
        assert_eq!(payload.inputs[0].shape, [2, 1]);
        assert_eq!(payload.inputs[1].shape, [5, 6]);
        assert!(payload.inputs[1].raw.iter().all(|&element| element <= 1));
    }

    #[test]
    fn an_optional_input_comes_only_when_it_is_asked_for() {
        let mut model = model(&[("x", DataType::Int8, &[-1]), ("a \"z\"", DataType::Int8, &[1])]);
        model.properties.insert(OPTIONAL_INPUTS.into(), r#"["a \"z\""]"#.into());
        let names = |how| {
            let inputs = random(&model, &how).unwrap().inputs.into_iter();
            inputs.map(|input| input.name).collect::<Vec<_>>()
        };
        assert_eq!(names(how(1, &[])), ["x"]);
        assert_eq!(names(how(1, &[("a \"z\"", &[1])])), ["x", "a \"z\""]);
    }

    #[test]
    fn inputs_that_the_model_does_not_accept_are_errors() {
        let model = model(&[("x", DataType::Fp32, &[1, 3])]);
        let message = |how| random(&model, &how).unwrap_err().to_string();
        assert_eq!(message(how(1, &[("z", &[1])])), "the model has no input `z`; it has x");
        let wrong = message(how(1, &[("x", &[1, 4])]));
        assert_eq!(wrong, "input `x` has the shape [1, 3] (-1 is any size), not [1, 4]");
        assert!(message(how(4, &[])).contains("cannot have 4 rows"));
    }

    #[test]
    fn a_request_cannot_grow_without_limit() {
        let large = model(&[("x", DataType::Fp32, &[-1, i64::MAX])]);
        assert!(matches!(random(&large, &how(3, &[])), Err(Error::TooLarge { .. })));
        let both = model(&[("x", DataType::Int8, &[1]), ("y", DataType::Fp32, &[1 << 26])]);
        assert!(
            matches!(random(&both, &how(1, &[])), Err(Error::TooLarge { input }) if input == "y")
        );
    }
}
