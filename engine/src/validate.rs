//! Checks a request against a model's signature and puts it into the model's own order.

use crate::batching::Batching;
use crate::payload::Payload;
use crate::request::{InputTensor, Request};
use crate::signature::{Signature, TensorSpec, list};
use crate::tensor::{DataType, Shape, elements};
use smallvec::{SmallVec, smallvec};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

#[cfg(test)]
mod tests;

/// Elements of the largest shape that has none, its zeros counted as ones. It costs its caller
/// not a byte, and the model may have to give rows for it.
const EMPTY_ELEMENTS_MAX: usize = 1 << 16;

/// Reason why a request does not fit its model. The caller must change the request.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRequest {
    /// An input that the model does not have.
    #[error("the model has no input '{name}'; its inputs are {inputs}")]
    UnknownInput {
        /// Name in the request.
        name: String,
        /// Names that exist.
        inputs: String,
    },
    /// A required input is missing.
    #[error("the model's input '{0}' is missing from the request")]
    MissingInput(String),
    /// An input that the request has twice.
    #[error("input '{0}' stands in the request twice")]
    DuplicateInput(String),
    /// An output that the model does not have.
    #[error("the model has no output '{name}'; its outputs are {outputs}")]
    UnknownOutput {
        /// Name in the request.
        name: String,
        /// Names that exist.
        outputs: String,
    },
    /// An output asked for twice.
    #[error("output '{0}' is asked for twice")]
    DuplicateOutput(String),
    /// Elements of another type.
    #[error("input '{name}' has datatype {sent}, and the model takes {wanted}")]
    WrongDatatype {
        /// Name of the input.
        name: String,
        /// Datatype in the request.
        sent: DataType,
        /// Datatype of the model's input.
        wanted: DataType,
    },
    /// A shape that the model does not take.
    #[error("input '{name}' has shape {sent}, and the model takes {wanted} (-1: any size)")]
    WrongShape {
        /// Name of the input.
        name: String,
        /// Shape in the request.
        sent: String,
        /// Shape of the model's input.
        wanted: String,
    },
    /// A shape with more elements than can be.
    #[error("input '{0}' has a shape that is too large")]
    TooManyElements(String),
    /// The number of bytes differs from that of the shape.
    #[error("input '{name}' brings {sent} bytes, and its shape and datatype need {wanted}")]
    WrongByteCount {
        /// Name of the input.
        name: String,
        /// Bytes sent.
        sent: usize,
        /// Bytes of the shape.
        wanted: usize,
    },
    /// Lengths inside `BYTES` data that do not add up.
    #[error(
        "input '{name}' brings {found} whole BYTES elements in {sent} bytes, and its shape needs {wanted}: check the 4-byte lengths"
    )]
    WrongBytesElements {
        /// Name of the input.
        name: String,
        /// Bytes sent.
        sent: usize,
        /// Elements found.
        found: usize,
        /// Elements of the shape.
        wanted: usize,
    },
    /// Inputs with different numbers of rows.
    #[error(
        "input '{name}' has {rows} rows in its first dimension, and '{first}' has {first_rows}"
    )]
    DifferentRows {
        /// Name of the input.
        name: String,
        /// Rows of the input.
        rows: usize,
        /// Name of the first input.
        first: String,
        /// Rows of the first input.
        first_rows: usize,
    },
    /// More rows than a batch may have.
    #[error(
        "inference request batch-size must be <= {limit}: the request has {rows} rows, and the model's max_batch_size is {limit}"
    )]
    TooManyRows {
        /// Rows of the request.
        rows: usize,
        /// Configured `max_batch_size`.
        limit: usize,
    },
    /// An input without elements, which the model is not run on.
    #[error("input '{name}' has shape {sent}, without elements, and is not run: {why}")]
    NoElements {
        /// Name of the input.
        name: String,
        /// Shape in the request.
        sent: String,
        /// Reason why such a run is not made.
        why: &'static str,
    },
    /// Anything that a protocol found wrong while decoding.
    #[error("{0}")]
    Malformed(String),
}

/// A valid input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidInput {
    /// Shape, which fits the model's dimensions.
    pub shape: Shape,
    /// Elements, with as many bytes as shape and datatype need.
    pub data: Payload,
}

/// A request that fits its model.
#[derive(Clone, Debug, Default)]
pub struct ValidRequest {
    /// Required inputs in the model's order, then the optional inputs of the request.
    pub inputs: SmallVec<[ValidInput; 2]>,
    /// Indices of the latter among the model's optional inputs, ascending.
    pub given: SmallVec<[usize; 2]>,
    /// Indices of the requested outputs; all outputs if empty.
    pub outputs: SmallVec<[usize; 4]>,
    /// Rows in the first dimension of a model that batches, else 1.
    pub rows: usize,
    /// Key that it shares with requests of the same run.
    pub batch_key: BatchKey,
}

/// Key of requests that can share a run: all dimensions but the batch dimension, input by input.
pub type BatchKey = SmallVec<[usize; 4]>;

/// The batch key of the next request that runs alone.
static NEXT_ALONE: AtomicUsize = AtomicUsize::new(0);

/// Checks names, datatypes, shapes and byte counts.
///
/// # Errors
/// The first thing found that does not fit, in the order of the request.
pub fn validate(
    request: Request,
    signature: &Signature,
    batching: &Batching,
) -> Result<ValidRequest, InvalidRequest> {
    let outputs = wanted_outputs(&request.outputs, signature)?;
    let mut places: SmallVec<[Option<ValidInput>; 2]> = SmallVec::new();
    places.resize_with(signature.inputs.len(), || None);
    let mut optional: SmallVec<[(usize, ValidInput); 2]> = SmallVec::new();
    for input in request.inputs {
        let Some(index) = signature.input_index(&input.name) else {
            put_optional(&mut optional, input, signature)?;
            continue;
        };
        if places[index].is_some() {
            return Err(InvalidRequest::DuplicateInput(input.name));
        }
        places[index] = Some(validate_input(input, &signature.inputs[index])?);
    }
    let mut inputs = SmallVec::with_capacity(places.len() + optional.len());
    for (place, spec) in places.into_iter().zip(&signature.inputs) {
        let missing = || InvalidRequest::MissingInput(spec.name.to_string());
        inputs.push(place.ok_or_else(missing)?);
    }
    let rows = rows(&inputs, signature, batching)?;
    // What is proven of rows holds where no dimension of a row is zero.
    let of_row = usize::from(batching.is_on());
    let is_zero = |input: &ValidInput| input.shape.iter().skip(of_row).any(|size| *size == 0);
    let has_zero = inputs.iter().any(is_zero);
    let shares = optional.is_empty() && !has_zero;
    let batch_key =
        if shares { batch_key(&inputs, signature, batching) } else { unique_batch_key() };
    let mut given = SmallVec::new();
    for (place, input) in optional {
        given.push(place);
        inputs.push(input);
    }
    Ok(ValidRequest { inputs, given, outputs, rows, batch_key })
}

/// Puts an input that has a default among those like it, in the model's order.
fn put_optional(
    optional: &mut SmallVec<[(usize, ValidInput); 2]>,
    input: InputTensor,
    signature: &Signature,
) -> Result<(), InvalidRequest> {
    let index = signature.optional_input_index(&input.name);
    let index = index.ok_or_else(|| unknown_input(&input.name, signature))?;
    match optional.binary_search_by_key(&index, |(place, _)| *place) {
        Ok(_) => Err(InvalidRequest::DuplicateInput(input.name)),
        Err(at) => {
            let input = validate_input(input, &signature.optional_inputs[index])?;
            optional.insert(at, (index, input));
            Ok(())
        }
    }
}

/// Returns a key that no other request has: no dimension has the size of its first element.
pub(crate) fn unique_batch_key() -> BatchKey {
    smallvec![usize::MAX, NEXT_ALONE.fetch_add(1, Relaxed)]
}

/// Builds the key of a request. Inputs whose dimensions are all fixed are the same in every
/// request, and ragged ones are joined flat. A padded dimension counts as the largest size that it may be padded to. Where the
/// number of dimensions differs, it goes before them, so that the sizes of two inputs are not
/// confused.
fn batch_key(inputs: &[ValidInput], signature: &Signature, batching: &Batching) -> BatchKey {
    let padding = batching
        .padding
        .as_ref()
        .filter(|padding| padding.sizes(inputs.iter().map(|input| &input.shape)).is_some());
    let first = usize::from(batching.is_on());
    let is_flat = |index| batching.ragged.as_ref().is_some_and(|ragged| ragged.is_flat(index));
    let open = inputs.iter().zip(&signature.inputs).enumerate().filter(|(index, (_, spec))| {
        let is_open = spec.any_rank || spec.dims.iter().skip(first).any(Option::is_none);
        is_open && !is_flat(*index)
    });
    open.flat_map(|(index, (input, spec))| {
        let rank = spec.any_rank.then_some(input.shape.len());
        let dims = input.shape.iter().enumerate().skip(first);
        let size = move |(dim, &size): (usize, &usize)| {
            padding.map_or(size, |p| p.key_size(index, dim, size))
        };
        rank.into_iter().chain(dims.map(size))
    })
    .collect()
}

fn wanted_outputs(
    names: &[String],
    signature: &Signature,
) -> Result<SmallVec<[usize; 4]>, InvalidRequest> {
    let mut wanted = SmallVec::new();
    for name in names {
        let index = signature.output_index(name).ok_or_else(|| InvalidRequest::UnknownOutput {
            name: name.clone(),
            outputs: names_of(&signature.outputs),
        })?;
        if wanted.contains(&index) {
            return Err(InvalidRequest::DuplicateOutput(name.clone()));
        }
        wanted.push(index);
    }
    Ok(wanted)
}

fn unknown_input(name: &str, signature: &Signature) -> InvalidRequest {
    let all = signature.inputs.iter().chain(&signature.optional_inputs);
    InvalidRequest::UnknownInput { name: name.into(), inputs: names_of(all) }
}

fn names_of<'a>(specs: impl IntoIterator<Item = &'a TensorSpec>) -> String {
    let names: Vec<String> = specs.into_iter().map(|spec| format!("'{}'", spec.name)).collect();
    names.join(", ")
}

fn validate_input(input: InputTensor, spec: &TensorSpec) -> Result<ValidInput, InvalidRequest> {
    let InputTensor { name, datatype, shape, data } = input;
    if datatype != spec.datatype {
        let wanted = spec.datatype;
        return Err(InvalidRequest::WrongDatatype { name, sent: datatype, wanted });
    }
    let shape = match &spec.reshape {
        None if spec.accepts(&shape) => shape,
        _ => {
            let wrong = |name| {
                let (sent, wanted) = (list(shape.iter()), list(spec.wire_dims()));
                InvalidRequest::WrongShape { name, sent, wanted }
            };
            match spec.inner_shape(shape.clone()) {
                Some(inner) => inner,
                None => return Err(wrong(name)),
            }
        }
    };
    let Some(count) = elements(&shape).filter(|&count| count > 0 || is_small(&shape)) else {
        return Err(InvalidRequest::TooManyElements(name));
    };
    match datatype.element_bytes() {
        Some(element_bytes) => {
            let Some(wanted) = count.checked_mul(element_bytes) else {
                return Err(InvalidRequest::TooManyElements(name));
            };
            if data.len() != wanted {
                return Err(InvalidRequest::WrongByteCount { name, sent: data.len(), wanted });
            }
        }
        None => check_strings(&name, &data, count)?,
    }
    Ok(ValidInput { shape, data })
}

fn is_small(empty: &[usize]) -> bool {
    let ones: Shape = empty.iter().map(|&dim| dim.max(1)).collect();
    elements(&ones).is_some_and(|count| count <= EMPTY_ELEMENTS_MAX)
}

fn check_strings(name: &str, data: &Payload, wanted: usize) -> Result<(), InvalidRequest> {
    let bytes = data.contiguous();
    let (mut found, mut length) = (0, 0);
    for element in crate::tensor::bytes_elements(&bytes) {
        found += 1;
        length += 4 + element.len();
    }
    if found != wanted || length != bytes.len() {
        let sent = bytes.len();
        return Err(InvalidRequest::WrongBytesElements { name: name.into(), sent, found, wanted });
    }
    Ok(())
}

fn rows(
    inputs: &[ValidInput],
    signature: &Signature,
    batching: &Batching,
) -> Result<usize, InvalidRequest> {
    if !batching.is_on() {
        return Ok(1);
    }
    let rows_of = |input: &ValidInput| input.shape.first().copied().unwrap_or(1);
    let first_rows = inputs.first().map_or(1, rows_of);
    for (input, spec) in inputs.iter().zip(&signature.inputs) {
        let rows = rows_of(input);
        if rows != first_rows {
            let name = spec.name.to_string();
            let first = signature.inputs[0].name.to_string();
            return Err(InvalidRequest::DifferentRows { name, rows, first, first_rows });
        }
    }
    let limit = batching.rows_max;
    if first_rows > limit && !batching.larger_requests_run_alone {
        return Err(InvalidRequest::TooManyRows { rows: first_rows, limit });
    }
    Ok(first_rows)
}
