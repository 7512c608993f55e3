//! Gathers requests into one batch, and splits its outputs among them.

use crate::batching::Batching;
use crate::executor::{BatchInput, ExecuteError};
use crate::model::Model;
use crate::padding::Members;
use crate::payload::Payload;
use crate::queue::Entry;
use crate::ragged::{Ragged, Scatter};
use crate::request::{OutputTensor, Outputs, Response, Stages};
use crate::signature::{Signature, TensorSpec, list};
use crate::tensor::{Shape, elements};
use smallvec::SmallVec;
use std::ops::Range;

#[cfg(test)]
mod tests;

/// A view of entries as one batch.
pub(crate) struct Batch<'a> {
    entries: &'a [Entry],
    batches: bool,
    /// Number of inputs without a default. The others have no batch dimension.
    required: usize,
    padded: Option<Members<'a>>,
    /// Joining of ragged inputs.
    ragged: Option<&'a Ragged>,
    outputs: &'a [TensorSpec],
}

impl<'a> Batch<'a> {
    /// Entries of one batch key. Only a model that batches has several.
    pub(crate) fn new(
        entries: &'a [Entry],
        signature: &'a Signature,
        batching: &'a Batching,
    ) -> Self {
        let members = entries.iter().map(|entry| &entry.request);
        let padding = batching.padding.as_ref().filter(|_| entries.len() > 1);
        let padded = padding.and_then(|padding| Members::new(padding, members));
        let (batches, required) = (batching.is_on(), signature.inputs.len());
        let ragged = batching.ragged.as_deref();
        Self { entries, batches, required, padded, ragged, outputs: &signature.outputs }
    }

    /// Number of members.
    pub(crate) fn members(&self) -> usize {
        self.entries.len()
    }

    /// Rows of all members together.
    pub(crate) fn rows(&self) -> usize {
        self.entries.iter().map(|entry| entry.request.rows).sum()
    }

    /// Indices of the given inputs with a default among the model's optional inputs. Only a request
    /// that runs alone has any.
    pub(crate) fn given(&self) -> &[usize] {
        self.entries.first().map_or(&[], |first| &first.request.given)
    }

    /// Inputs of all members, side by side, and then the given ones that have a default.
    pub(crate) fn inputs(&self) -> SmallVec<[BatchInput<'_>; 2]> {
        let Some(first) = self.entries.first() else { return SmallVec::new() };
        let together = |index: usize| {
            let mut shape = first.request.inputs[index].shape.clone();
            if let (true, Some(dim)) = (self.batches && index < self.required, shape.first_mut()) {
                *dim = self.rows();
            }
            if let Some(padded) = &self.padded {
                padded.enlarge(index, &mut shape);
            }
            let ragged = self.ragged.filter(|_| index < self.required);
            let members = ragged
                .map_or_else(Vec::new, |ragged| ragged.join(index, self.shapes(index), &mut shape));
            let parts = (0..self.entries.len()).map(|member| self.part(member, index));
            BatchInput { shape, parts: parts.collect(), members }
        };
        (0..first.request.inputs.len()).map(together).collect()
    }

    /// Shape of each member's input.
    fn shapes(&self, input: usize) -> impl Iterator<Item = &Shape> {
        self.entries.iter().map(move |entry| &entry.request.inputs[input].shape)
    }

    /// Data of a member for an input.
    fn part(&self, member: usize, input: usize) -> &Payload {
        let padded = self.padded.as_ref().and_then(|padded| padded.payload(member, input));
        padded.unwrap_or(&self.entries[member].request.inputs[input].data)
    }

    /// Gives each member its rows of the outputs that it wants. Only outputs of padded members are
    /// copied.
    pub(crate) fn split(&self, outputs: &[OutputTensor]) -> Result<Vec<Outputs>, ExecuteError> {
        if let ([only], None) = (self.entries, self.ragged) {
            let own = wanted(only, outputs).cloned().collect();
            return Ok(vec![self.reshape(only, own)?]);
        }
        let cuts = outputs.iter().enumerate().map(|(place, output)| Cut::new(output, place, self));
        let cuts: Vec<Cut<'_>> = cuts.collect::<Result<_, _>>()?;
        let split_one = |(member, entry): (usize, &Entry)| {
            let own = wanted(entry, &cuts).map(|cut| cut.member(member, entry.request.rows, self));
            self.reshape(entry, own.collect())
        };
        self.entries.iter().enumerate().map(split_one).collect()
    }

    /// Gives a member's outputs the shapes that clients see.
    fn reshape(&self, entry: &Entry, mut outputs: Outputs) -> Result<Outputs, ExecuteError> {
        for (output, spec) in outputs.iter_mut().zip(wanted(entry, self.outputs)) {
            if spec.reshape.is_some() {
                output.shape = spec.outer_shape(output.shape.clone()).ok_or_else(|| {
                    let (name, shape) = (&output.name, &output.shape);
                    let problem = format!(
                        "output '{name}' has shape {shape:?}, which its reshape does not fit"
                    );
                    ExecuteError::Model(problem)
                })?;
            }
        }
        Ok(outputs)
    }
}

/// Selects the outputs that the entry wants, in its order.
fn wanted<'o, T>(entry: &'o Entry, all: &'o [T]) -> impl Iterator<Item = &'o T> {
    let places = &entry.request.outputs;
    let every = if places.is_empty() { all } else { &[] };
    places.iter().filter_map(|&place| all.get(place)).chain(every)
}

/// One output with the range of bytes that belongs to each member.
struct Cut<'a> {
    output: &'a OutputTensor,
    /// Index among the model's outputs.
    place: usize,
    /// Shape of each member's part, if it is not divided by rows; else empty.
    shapes: Vec<Shape>,
    ranges: SmallVec<[Range<usize>; 8]>,
}

impl<'a> Cut<'a> {
    fn new(
        output: &'a OutputTensor,
        place: usize,
        batch: &Batch<'_>,
    ) -> Result<Self, ExecuteError> {
        if let Some(scatter) = batch.ragged.and_then(|ragged| ragged.scatter(place)) {
            return Self::scattered(output, place, scatter, batch);
        }
        let rows = batch.rows();
        if output.shape.first() != Some(&rows) {
            let advice = match batch.ragged {
                None => "set max_batch_size = 0 for this model",
                Some(_) => "send one row in each request, or divide it by a batch_output",
            };
            return Err(ExecuteError::Model(format!(
                "output '{}' has shape {:?} for a batch of {rows} rows, so the first dimension is \
                 no batch dimension: {advice}",
                output.name, output.shape
            )));
        }
        if batch.padded.as_ref().is_some_and(|padded| !padded.fits(place, &output.shape)) {
            let (name, shape) = (&output.name, &output.shape);
            return Err(ExecuteError::Model(format!(
                "output '{name}' of padded inputs has shape {shape:?}, which can not be cut back"
            )));
        }
        let row_elements = elements(&output.shape[1..]).unwrap_or(0);
        let counts = batch.entries.iter().map(|entry| entry.request.rows * row_elements);
        Self::of(output, place, counts)
    }

    /// Divides an output by the shapes of an input.
    fn scattered(
        output: &'a OutputTensor,
        place: usize,
        scatter: &Scatter,
        batch: &Batch<'_>,
    ) -> Result<Self, ExecuteError> {
        let shapes: Vec<Shape> =
            batch.shapes(scatter.source()).map(|shape| scatter.shape(shape)).collect();
        let counts = shapes.iter().map(|shape| elements(shape));
        let sum = |sum: usize, count: Option<usize>| sum.checked_add(count?);
        if counts.clone().try_fold(0, sum) != elements(&output.shape) {
            let (name, shape) = (&output.name, list(output.shape.iter()));
            let parts: Vec<String> = shapes.iter().map(|shape| list(shape.iter())).collect();
            return Err(ExecuteError::Model(format!(
                "output '{name}' has shape {shape}, and its batch_output needs the elements of \
                 {}",
                parts.join(" and ")
            )));
        }
        let cut = Self::of(output, place, counts.map(Option::unwrap_or_default))?;
        Ok(Self { shapes, ..cut })
    }

    /// Divides an output into parts of so many elements.
    fn of(
        output: &'a OutputTensor,
        place: usize,
        counts: impl ExactSizeIterator<Item = usize>,
    ) -> Result<Self, ExecuteError> {
        let mut start = 0;
        let mut ranges = SmallVec::with_capacity(counts.len());
        for count in counts {
            let length = match output.datatype.element_bytes() {
                Some(element_bytes) => count * element_bytes,
                None => strings_length(output.data.get(start..).unwrap_or_default(), count),
            };
            ranges.push(start..start + length);
            start += length;
        }
        if start != output.data.len() {
            let (name, bytes) = (&output.name, output.data.len());
            return Err(ExecuteError::Model(format!(
                "output '{name}' has {bytes} bytes, and its shape needs {start}"
            )));
        }
        Ok(Self { output, place, shapes: Vec::new(), ranges })
    }

    fn member(&self, member: usize, rows: usize, batch: &Batch<'_>) -> OutputTensor {
        let shape = self.shapes.get(member).cloned().unwrap_or_else(|| {
            let mut shape: Shape = self.output.shape.clone();
            shape[0] = rows;
            shape
        });
        let own = OutputTensor {
            name: self.output.name.clone(),
            datatype: self.output.datatype,
            shape,
            data: self.output.data.slice(self.ranges[member].clone()),
        };
        match &batch.padded {
            Some(padded) => padded.cut(member, self.place, own),
            None => own,
        }
    }
}

/// Bytes of the first `count` strings.
fn strings_length(data: &[u8], count: usize) -> usize {
    crate::tensor::bytes_elements(data).take(count).map(|element| 4 + element.len()).sum()
}

/// A run that succeeded.
pub(crate) struct Run {
    /// Outputs of each member.
    pub(crate) outputs: Vec<Outputs>,
    /// Times of the batch. `queued`, `behind` and `ahead` differ between members and are not set.
    pub(crate) stages: Stages,
}

/// Sends every member its outputs, and counts the batch.
pub(crate) fn reply(model: &Model, entries: Vec<Entry>, run: Run) {
    model.statistics().record_batch(&run.stages, &entries);
    for (entry, outputs) in entries.into_iter().zip(run.outputs) {
        let response = Response {
            model: model.name().clone(),
            version: model.version(),
            outputs,
            stages: Stages {
                queued: entry.queued,
                behind: entry.behind,
                ahead: entry.ahead,
                ..run.stages
            },
        };
        // A caller that left while its batch ran wants no answer.
        entry.reply.send(Ok(response));
    }
}
