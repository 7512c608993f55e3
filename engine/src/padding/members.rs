//! The members of a batch in which at least one is padded.

use super::{Padding, Sizes, cut, pad};
use crate::payload::Payload;
use crate::request::OutputTensor;
use crate::tensor::Shape;
use crate::validate::{ValidInput, ValidRequest};
use smallvec::SmallVec;

/// Members of different sizes.
pub(crate) struct Members<'a> {
    padding: &'a Padding,
    /// Of each member.
    sizes: SmallVec<[Sizes; 8]>,
    /// The longest of each axis, which all are padded to.
    longest: Sizes,
    /// Of each member, and of each of its inputs; `None` where its own data will do.
    padded: Vec<SmallVec<[Option<Payload>; 4]>>,
}

impl<'a> Members<'a> {
    /// Pads those that need it; `None` when nobody does.
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
        let bare = Self { padding, sizes, longest, padded: Vec::new() };
        let padded = members.map(|member| bare.pad(&member.inputs)).collect();
        Some(Self { padded, ..bare })
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

    /// Makes the shape of an input that of the longest.
    pub(crate) fn enlarge(&self, input: usize, shape: &mut Shape) {
        let Some(spec) = &self.padding.inputs[input] else { return };
        for (size, axis) in shape.iter_mut().zip(&spec.axes) {
            if let Some(axis) = *axis {
                *size = self.longest[axis];
            }
        }
    }

    /// The data of a member's input, if it is padded.
    pub(crate) fn payload(&self, member: usize, input: usize) -> Option<&Payload> {
        self.padded[member][input].as_ref()
    }

    /// Whether an output has the size of the longest where it is to be cut back.
    pub(crate) fn fits(&self, output: usize, shape: &[usize]) -> bool {
        let axes = &self.padding.outputs[output];
        let fits = |(axis, size): (&Option<usize>, &usize)| {
            axis.is_none_or(|axis| self.longest[axis] == *size)
        };
        axes.len() == shape.len() && axes.iter().zip(shape).all(fits)
    }

    /// Cuts a member's rows of an output back to its own size.
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
