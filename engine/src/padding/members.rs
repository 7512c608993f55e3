//! The requests of a batch in which at least one is padded.

use super::{Padding, Sizes, cut, pad};
use crate::payload::Payload;
use crate::request::OutputTensor;
use crate::tensor::Shape;
use crate::validate::{ValidInput, ValidRequest};
use smallvec::SmallVec;

/// Requests of different sizes in one batch.
pub(crate) struct Members<'a> {
    padding: &'a Padding,
    /// Axis sizes of each request.
    sizes: SmallVec<[Sizes; 8]>,
    /// Largest size of each axis, to which all are padded.
    longest: Sizes,
    /// Padded data by request and input; `None` for an input that needs no padding.
    padded: Vec<SmallVec<[Option<Payload>; 4]>>,
}

impl<'a> Members<'a> {
    /// Pads the requests that need it; `None` if none does.
    pub(crate) fn new<'m>(
        padding: &'a Padding,
        members: impl Iterator<Item = &'m ValidRequest> + Clone,
    ) -> Option<Self> {
        let sizes: SmallVec<[Sizes; 8]> = members
            .clone()
            .map(|member| padding.sizes(member.inputs.iter().map(|input| &input.shape)))
            .collect::<Option<_>>()?;
        let longest: Sizes = (0..padding.axes)
            .map(|axis| sizes.iter().map(|sizes| sizes[axis]).max().unwrap_or(0))
            .collect();
        if sizes.iter().all(|sizes| *sizes == longest) {
            return None;
        }
        let unpadded = Self { padding, sizes, longest, padded: Vec::new() };
        let padded = members.map(|member| unpadded.pad(&member.inputs)).collect();
        Some(Self { padded, ..unpadded })
    }

    fn pad(&self, inputs: &[ValidInput]) -> SmallVec<[Option<Payload>; 4]> {
        let pad_one = |(index, input): (usize, &ValidInput)| {
            let spec = self.padding.inputs[index].as_ref()?;
            let mut shape = input.shape.clone();
            self.enlarge(index, &mut shape);
            let padded = || pad(&input.data.contiguous(), &input.shape, &shape, &spec.fill).into();
            (shape != input.shape).then(padded)
        };
        inputs.iter().enumerate().map(pad_one).collect()
    }

    /// Enlarges the shape of an input to the longest request.
    pub(crate) fn enlarge(&self, input: usize, shape: &mut Shape) {
        let Some(spec) = &self.padding.inputs[input] else { return };
        for (size, axis) in shape.iter_mut().zip(&spec.axes) {
            if let Some(axis) = *axis {
                *size = self.longest[axis];
            }
        }
    }

    /// Padded data of a request's input; `None` if it is not padded.
    pub(crate) fn payload(&self, member: usize, input: usize) -> Option<&Payload> {
        self.padded[member][input].as_ref()
    }

    /// True if an output has the largest size in each dimension that is cut back.
    pub(crate) fn fits(&self, output: usize, shape: &[usize]) -> bool {
        let axes = &self.padding.outputs[output];
        let fits = |(axis, size): (&Option<usize>, &usize)| {
            axis.is_none_or(|axis| self.longest[axis] == *size)
        };
        axes.len() == shape.len() && axes.iter().zip(shape).all(fits)
    }

    /// Cuts a request's rows of an output back to its own size.
    pub(crate) fn cut(
        &self,
        member: usize,
        output: usize,
        mut tensor: OutputTensor,
    ) -> OutputTensor {
        let mut shape = tensor.shape.clone();
        for (size, axis) in shape.iter_mut().zip(&self.padding.outputs[output]) {
            if let Some(axis) = *axis {
                *size = self.sizes[member][axis];
            }
        }
        if let Some(bytes) = tensor.datatype.element_bytes().filter(|_| shape != tensor.shape) {
            tensor.data = cut(&tensor.data, &tensor.shape, &shape, bytes).into();
            tensor.shape = shape;
        }
        tensor
    }
}
