//! The buffers of one batch shape, bound to a session.
//!
//! An output has a buffer of ours only where its shape is proven, and the graph declares no other.
//! The runtime fails when an output differs from its buffer, and rejects a buffer that differs from
//! the declaration. It allocates every other output. The result is always the tensor that the
//! runtime returns. It may leave a buffer of ours alone, as an output can share memory with an
//! input or with another output.

use super::buffer;
use crate::executor::BatchInput;
use crate::request::OutputTensor;
use crate::signature::{Signature, TensorSpec};
use crate::tensor::{DataType, Shape};
use ort::memory::MemoryInfo;
use ort::session::{RunOptions, Session};
use ort::value::{DynTensor, DynTensorRef};
use skysail_kernels::RunBinding;
use smallvec::SmallVec;
use std::sync::Arc;
use std::time::Instant;

/// Bytes of buffers that one session keeps for later batches.
const PLAN_BYTES_MAX: usize = 64 << 20;
/// Batch shapes that one session keeps buffers for, at most.
const PLANS_MAX: usize = 64;

/// A run that needs a plan.
pub(super) struct PlannedRun<'a, 'm> {
    pub(super) signature: &'a Signature,
    /// Outputs as the runtime declares them; `None` to rely on no proof.
    pub(super) declared: Option<&'a [TensorSpec]>,
    /// Inputs without a default, and then the given ones that have one.
    pub(super) inputs: &'a [BatchInput<'m>],
    /// Indices of the latter among the optional inputs.
    pub(super) given: &'a [usize],
}

/// Outputs of a run, with the time of its end.
pub(super) type RunOutputs = (SmallVec<[OutputTensor; 2]>, Instant);

/// Buffers for one batch shape, bound to a session.
pub(super) struct Plan {
    shapes: SmallVec<[Shape; 2]>,
    given: SmallVec<[usize; 2]>,
    /// True if it was made with proven shapes.
    relies: bool,
    binding: RunBinding,
    inputs: Vec<Input>,
    outputs: Vec<Output>,
    /// Memory in which the runtime allocates outputs without our buffer.
    memory: MemoryInfo<'static>,
    bytes: usize,
    /// Number of the last run that used the plan.
    last_used: u64,
}

/// Cache of a session's plans.
#[derive(Default)]
pub(super) struct Plans {
    all: Vec<Plan>,
    runs: u64,
}

/// An input of the model.
enum Input {
    /// A reused buffer.
    Buffer(DynTensor),
    /// Strings, which are made for each run and freed after it: they take many times their bytes.
    Strings {
        /// A tensor that is bound between two runs.
        placeholder: DynTensor,
    },
}

/// An output of the model.
struct Output {
    /// Index among the bound outputs, which have one name each.
    index: usize,
    memory: Memory,
}

/// Memory of an output.
enum Memory {
    /// A reused buffer, which is kept alive here.
    Bound(#[expect(dead_code, reason = "the session writes to it")] DynTensor),
    /// Allocated by the runtime, as the shape is known only after the run.
    Allocated,
    /// Memory of another output with the same name.
    Shared,
}

impl<'a> PlannedRun<'a, '_> {
    /// Specification of each input.
    fn specs(&self) -> impl Iterator<Item = &'a TensorSpec> + use<'a> {
        let Self { signature, given, .. } = *self;
        let optional = given.iter().filter_map(|&index| signature.optional_inputs.get(index));
        signature.inputs.iter().chain(optional)
    }

    /// Proven shape of an output; `None` if it can not have a buffer.
    fn output_shape(&self, output: usize) -> Option<Shape> {
        // Proofs hold only while optional inputs have their defaults.
        let is_proven = self.given.is_empty();
        let declared = self.declared?.get(output)?;
        if !is_proven || declared.datatype == DataType::Bytes {
            return None;
        }
        let shapes: SmallVec<[&[usize]; 4]> =
            self.inputs.iter().map(|input| input.shape.as_slice()).collect();
        let shape = self.signature.output_shape(output, &shapes)?;
        (declared.accepts(&shape) && shape.iter().all(|&dim| dim > 0)).then_some(shape)
    }
}

impl Plans {
    /// Returns the plan of a run, and makes it if it is missing.
    pub(super) fn of(
        &mut self,
        session: &Arc<Session>,
        run: &PlannedRun<'_, '_>,
    ) -> ort::Result<&mut Plan> {
        let known = self.all.iter().position(|plan| plan.fits(run));
        let index = match known {
            Some(index) => index,
            None => {
                let plan = Plan::new(session, run)?;
                self.make_room(plan.bytes);
                self.all.push(plan);
                self.all.len() - 1
            }
        };
        self.runs += 1;
        let plan = &mut self.all[index];
        plan.last_used = self.runs;
        Ok(plan)
    }

    /// Returns true if one of them has a buffer for an output.
    #[cfg(test)]
    pub(super) fn any_binds(&self) -> bool {
        self.all.iter().any(Plan::binds_outputs)
    }

    /// Bytes of the buffers of all plans.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.all.iter().map(|plan| plan.bytes).sum()
    }

    /// Drops the largest plans, until the others have at most so many bytes.
    pub(super) fn shrink(&mut self, bytes_max: usize) {
        self.all.sort_by_key(|plan| plan.bytes);
        let mut bytes = 0;
        self.all.retain(|plan| {
            bytes += plan.bytes;
            bytes <= bytes_max
        });
    }

    /// Drops all plans.
    pub(super) fn clear(&mut self) {
        self.all.clear();
    }

    /// Drops the least recently used plans until another of `bytes` fits.
    fn make_room(&mut self, bytes: usize) {
        let kept = |plans: &[Plan]| plans.iter().map(|plan| plan.bytes).sum::<usize>();
        while self.all.len() >= PLANS_MAX || kept(&self.all) + bytes > PLAN_BYTES_MAX {
            let oldest = (0..self.all.len()).min_by_key(|&index| self.all[index].last_used);
            let Some(oldest) = oldest else { return };
            self.all.swap_remove(oldest);
        }
    }
}

impl Plan {
    fn new(session: &Arc<Session>, run: &PlannedRun<'_, '_>) -> ort::Result<Self> {
        let mut plan = Self {
            shapes: run.inputs.iter().map(|input| input.shape.clone()).collect(),
            given: run.given.into(),
            relies: run.declared.is_some(),
            binding: RunBinding::new(session)?,
            inputs: Vec::with_capacity(run.inputs.len()),
            outputs: Vec::with_capacity(run.signature.outputs.len()),
            memory: session.allocator().memory_info().to_owned(),
            bytes: 0,
            last_used: 0,
        };
        for (spec, input) in run.specs().zip(run.inputs) {
            plan.inputs.push(match spec.datatype {
                DataType::Bytes => {
                    let placeholder = buffer::allocate(session, DataType::Bytes, &[1])?;
                    Input::Strings { placeholder }
                }
                datatype => {
                    let tensor = buffer::allocate(session, datatype, &input.shape)?;
                    plan.binding.bind_input(&spec.name, &tensor)?;
                    plan.bytes += buffer::bytes(&tensor);
                    Input::Buffer(tensor)
                }
            });
        }
        let mut names: Vec<&str> = Vec::new();
        for (index, spec) in run.signature.outputs.iter().enumerate() {
            if let Some(index) = names.iter().position(|name| *name == &*spec.name) {
                plan.outputs.push(Output { index, memory: Memory::Shared });
                continue;
            }
            let memory = plan.bind_output(session, spec, run.output_shape(index))?;
            plan.outputs.push(Output { index: names.len(), memory });
            names.push(&spec.name);
        }
        Ok(plan)
    }

    /// Binds a buffer of this shape to an output; without a shape the runtime allocates it.
    fn bind_output(
        &mut self,
        session: &Session,
        spec: &TensorSpec,
        shape: Option<Shape>,
    ) -> ort::Result<Memory> {
        let Some(shape) = shape else {
            self.binding.bind_output_to_device(&spec.name, &self.memory)?;
            return Ok(Memory::Allocated);
        };
        let mut tensor = buffer::allocate(session, spec.datatype, &shape)?;
        self.bytes += buffer::bytes(&tensor);
        self.binding.bind_output(&spec.name, &mut tensor)?;
        Ok(Memory::Bound(tensor))
    }

    /// Returns true if it can be used for a run.
    fn fits(&self, run: &PlannedRun<'_, '_>) -> bool {
        let shapes = run.inputs.iter().map(|input| &input.shape);
        self.relies == run.declared.is_some()
            && self.given.as_slice() == run.given
            && self.shapes.iter().eq(shapes)
    }

    /// Returns true if it has a buffer for any output.
    pub(super) fn binds_outputs(&self) -> bool {
        self.outputs.iter().any(|output| matches!(output.memory, Memory::Bound(_)))
    }

    /// Copies the requests' data into the bound inputs.
    pub(super) fn gather(&mut self, run: &PlannedRun<'_, '_>) -> ort::Result<()> {
        for ((own, input), spec) in self.inputs.iter_mut().zip(run.inputs).zip(run.specs()) {
            match own {
                Input::Buffer(tensor) => buffer::fill(tensor, spec.datatype, input)?,
                Input::Strings { .. } => {
                    self.binding.bind_input(&spec.name, &buffer::strings(input)?)?;
                }
            }
        }
        Ok(())
    }

    /// Frees the strings of the last run.
    fn release_strings(&mut self, signature: &Signature) -> ort::Result<()> {
        let optional = self.given.iter().filter_map(|&at| signature.optional_inputs.get(at));
        for (own, spec) in self.inputs.iter().zip(signature.inputs.iter().chain(optional)) {
            if let Input::Strings { placeholder } = own {
                self.binding.bind_input(&spec.name, placeholder)?;
            }
        }
        Ok(())
    }

    /// Runs the session, and returns copies of all outputs in the model's order.
    pub(super) fn run(
        &mut self,
        options: &RunOptions,
        signature: &Signature,
    ) -> ort::Result<RunOutputs> {
        let Self { binding, outputs: wanted, .. } = self;
        let mut executed = None;
        // Outputs of one name are bound once, and read for each of them.
        let mut read: SmallVec<[Option<OutputTensor>; 2]> = wanted.iter().map(|_| None).collect();
        let ran = binding.run(options, |index, value| {
            executed.get_or_insert_with(Instant::now);
            let tensor: DynTensorRef<'_> = value.view().downcast()?;
            let specs = wanted.iter().zip(&signature.outputs).zip(&mut read);
            for ((_, spec), read) in specs.filter(|((output, _), _)| output.index == index) {
                *read = Some(buffer::read(&tensor, spec)?);
            }
            Ok(())
        });
        let executed = executed.unwrap_or_else(Instant::now);
        self.release_strings(signature)?;
        self.release_outputs(signature)?;
        ran?;
        let missing =
            |spec: &TensorSpec| ort::Error::new(format!("output '{}' is missing", spec.name));
        let outputs = read.into_iter().zip(&signature.outputs);
        let outputs = outputs.map(|(output, spec)| output.ok_or_else(|| missing(spec)));
        Ok((outputs.collect::<ort::Result<_>>()?, executed))
    }

    /// Frees outputs that the runtime allocated, as the next run may need another size.
    fn release_outputs(&mut self, signature: &Signature) -> ort::Result<()> {
        for (output, spec) in self.outputs.iter().zip(&signature.outputs) {
            if matches!(output.memory, Memory::Allocated) {
                self.binding.bind_output_to_device(&spec.name, &self.memory)?;
            }
        }
        Ok(())
    }
}
