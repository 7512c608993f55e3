//! Training of a model's graph.
//!
//! [`Network::new`] compiles the graph once. A step then runs its nodes in order over `burn`'s
//! tensors, and `burn`'s autodiff computes the backward pass.

mod floats;
mod value;
mod operator;
mod operators;
mod pass;
mod initial;
mod roles;
mod plan;
mod tap;
mod loss;
mod teacher;

use self::floats::{Dense, Diff, Floats, tensor};
use self::operator::Inputs;
use self::pass::{Pass, seed_of};
use self::plan::{Plan, RunTarget, check_shape};
use self::tap::{EntryGradient, with_tap};
use self::teacher::Teacher;
use self::value::Value;
use crate::batch::{Batch, Input, Targets, Values};
use crate::error::TrainError;
use crate::layout::{EntryKind, Layout};
use crate::learner::Learner;
use burn_backend::AutodiffBackend;
use burn_flex::FlexTensor;
use skysail_graph::{ElementType, Model, ValueInfo};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};

pub use self::teacher::Distillation;

/// A trainable model: its graph, and tensors for its parameters.
///
/// It trains the first floating-point output of a graph with one input. Floats of all precisions
/// are `f32` here. A fixed number of rows in the file is ignored, as far as the graph's own
/// constants allow other batch sizes.
#[derive(Debug, Clone)]
pub struct Network {
    plan: Arc<Plan>,
    initial: Arc<Vec<f32>>,
    /// Tensors of the parameters of the last step, whose memory the next one reuses.
    tensors: Vec<FlexTensor>,
    /// Teacher of distillation, if any.
    teacher: Option<Box<Teacher>>,
}

/// The output to train: the first one of floats, as labels selected by the graph have no gradient.
/// Without one it is the first output.
pub(crate) fn trained_output(model: &Model) -> Option<ValueInfo> {
    let outputs = model.graph().outputs();
    let is_label = |output: &ValueInfo| {
        matches!(output.kind.element(), Some(ElementType::Int32 | ElementType::Int64))
    };
    let trained = outputs.iter().position(|output| !is_label(output)).unwrap_or(0);
    outputs.into_iter().nth(trained)
}

impl Network {
    /// Compiles the graph of `model` for training.
    ///
    /// # Errors
    /// `Unsupported` with the node's name when an operator or an attribute is not supported.
    /// `Graph` when the file is invalid. `Data` when the model does not have one input and an
    /// output.
    pub fn new(model: &Model) -> Result<Self, TrainError> {
        crate::memory::keep();
        let plan = Plan::of(model)?;
        let mut initial = vec![0.0; plan.layout.len()];
        let graph = model.graph();
        for entry in plan.layout.entries() {
            let constant = graph.constant(&entry.name);
            if let Some(values) =
                constant.map(|tensor| initial::floats(&tensor)).transpose()?.flatten()
            {
                initial[entry.range.clone()].copy_from_slice(&values);
            }
        }
        let (plan, initial) = (Arc::new(plan), Arc::new(initial));
        Ok(Self { plan, initial, tensors: Vec::new(), teacher: None })
    }

    /// Adds distillation from another model with the parameters of its file.
    ///
    /// # Errors
    /// Fails when the teacher's parameters do not fit its layout.
    pub fn with_teacher(
        mut self,
        teacher: Self,
        settings: Distillation,
    ) -> Result<Self, TrainError> {
        self.teacher = Some(Box::new(Teacher::new(teacher, settings)?));
        Ok(self)
    }

    /// Values of the parameters in the file.
    pub fn parameters(&self) -> Vec<f32> {
        self.initial.to_vec()
    }

    /// Writes `parameters` to `model`, rounded to the precision of its initializers. The model is
    /// the one that this network was created from, or has the same initializers.
    ///
    /// # Errors
    /// `Data` when the number of parameters is wrong, or the model lacks an initializer.
    pub fn write(&self, model: &mut Model, parameters: &[f32]) -> Result<(), TrainError> {
        self.check_parameters(parameters)?;
        for entry in self.plan.layout.entries() {
            let graph = model.graph();
            let tensor = graph.constant(&entry.name).ok_or_else(|| {
                TrainError::Data(format!("it has no initializer '{}' to write to", entry.name))
            })?;
            let trained = initial::like(&tensor, &parameters[entry.range.clone()])?;
            model.set_initializer(&entry.name, trained);
        }
        Ok(())
    }

    fn check_parameters(&self, parameters: &[f32]) -> Result<(), TrainError> {
        let wanted = self.plan.layout.len();
        if parameters.len() == wanted {
            return Ok(());
        }
        let given = parameters.len();
        Err(TrainError::Data(format!("the model has {wanted} parameters, not {given}")))
    }

    /// Copies the parameters into tensors; reuses those of the last step if they are free.
    fn load_parameters(&mut self, parameters: &[f32]) -> Result<(), TrainError> {
        self.check_parameters(parameters)?;
        let entries = self.plan.layout.entries();
        self.tensors.truncate(entries.len());
        for (index, entry) in entries.iter().enumerate() {
            let values = &parameters[entry.range.clone()];
            match self.tensors.get_mut(index).and_then(|held| held.try_storage_mut::<f32>()) {
                Some(held) => held.copy_from_slice(values),
                None => {
                    let fresh = tensor(&entry.shape, values.to_vec());
                    self.tensors.truncate(index);
                    self.tensors.push(fresh);
                }
            }
        }
        Ok(())
    }

    /// Runs the graph without gradients.
    fn run(
        &self,
        input: &Input,
        target: RunTarget,
        seen: &mut dyn FnMut(&plan::Step, &Value),
    ) -> Result<Value, TrainError> {
        let mut parameters = |step: usize, _: &Inputs| {
            let plain = |entry: usize| Value::Floats(Floats::new(self.tensors[entry].clone()));
            self.first_consumed(step)
                .map(|entry| (self.plan.parameters[entry], plain(entry)))
                .collect()
        };
        let mut pass = Pass::default();
        self.plan.run(&mut parameters, value_of(input), target, &mut pass, seen)
    }

    /// Parameters whose first consumer is `step`.
    fn first_consumed(&self, step: usize) -> impl Iterator<Item = usize> + use<'_> {
        let consumers = self.plan.first_consumers.iter().enumerate();
        consumers.filter(move |(_, consumer)| **consumer == step).map(|(entry, _)| entry)
    }

    /// Runs the graph and its loss so that the backward pass sends gradients to `sender`.
    fn forward(
        &self,
        batch: &Batch,
        sender: &Sender<EntryGradient>,
        pass: &mut Pass,
    ) -> Result<(Floats, f32), TrainError> {
        let entries = self.plan.layout.entries();
        let mut parameters = |step: usize, inputs: &Inputs| {
            let mut sibling = None;
            for input in inputs.0.iter().flatten() {
                if let Value::Floats(input) = input
                    && input.is_tracked()
                {
                    sibling = Some(input.clone());
                }
            }
            let value = |entry: usize| match entries[entry].kind {
                EntryKind::Statistic => Floats::new(self.tensors[entry].clone()),
                _ => with_tap(&self.tensors[entry], sibling.as_ref(), entry, sender),
            };
            let pairs = self.first_consumed(step);
            pairs.map(|entry| (self.plan.parameters[entry], Value::Floats(value(entry)))).collect()
        };
        let (target, teacher) = match batch.targets {
            Targets::Classes(_) => (RunTarget::Logits, self.teacher.as_ref()),
            Targets::Numbers(_) => (RunTarget::Output, None),
        };
        let input = value_of(&batch.input);
        let result = self.plan.run(&mut parameters, input, target, pass, &mut |_, _| {})?;
        let Value::Floats(result) = result else {
            return Err(TrainError::Data("the model outputs integers, not floats".to_owned()));
        };
        let teacher_output = teacher.map(|teacher| teacher.predict(&batch.input)).transpose()?;
        loss::of(&result, &batch.targets, batch.rows(), teacher_output.as_ref())
    }

    /// Checks that a batch fits the graph.
    fn check(&self, input: &Input) -> Result<(), TrainError> {
        let wanted = input.shape.iter().try_fold(1_usize, |all, dim| all.checked_mul(*dim));
        let given = match &input.values {
            Values::Float32(values) => values.len(),
            Values::Int64(values) => values.len(),
        };
        if wanted != Some(given) {
            let shape = &input.shape;
            return Err(TrainError::Data(format!(
                "{given} values do not have the shape {shape:?}"
            )));
        }
        check_shape(&self.plan.input, &input.shape)
    }

    /// Names the first node with a non-finite output.
    fn not_finite(&self, batch: &Batch, loss: f32) -> TrainError {
        let mut first = None;
        let mut seen = |step: &plan::Step, value: &Value| {
            if let Value::Floats(result) = value
                && first.is_none()
                && !is_finite(Dense::of(result.primitive()).values())
            {
                first = Some(step.name.clone());
            }
        };
        // Errors of this second run are ignored: the loss is the error to report.
        let _ = self.run(&batch.input, RunTarget::Output, &mut seen);
        let what = match first {
            Some(node) => format!("the loss, first at the output of node '{node}',"),
            None => "the loss".to_owned(),
        };
        TrainError::NotFinite { what, value: loss }
    }

    /// Seed of a step's random numbers: a function of its batch and parameters.
    fn seed(&self, input: &Input) -> u64 {
        let first = |held: &FlexTensor| held.storage::<f32>().first().copied().unwrap_or(0.0);
        let parameters = self.tensors.iter().map(|held| u64::from(first(held).to_bits()));
        match &input.values {
            Values::Float32(values) => {
                // A sample of the numbers distinguishes batches.
                let step = values.len().div_ceil(4096).max(1);
                seed_of(parameters.chain(values.iter().step_by(step).map(|v| v.to_bits().into())))
            }
            Values::Int64(values) => {
                seed_of(parameters.chain(values.iter().map(|value| value.cast_unsigned())))
            }
        }
    }
}

/// Converts rows to the graph's input.
fn value_of(input: &Input) -> Value {
    match &input.values {
        Values::Float32(values) => Value::floats(&input.shape, values.clone()),
        Values::Int64(values) => Value::ints(&input.shape, values.clone()),
    }
}

/// Returns true if no value is infinite or NaN.
fn is_finite(values: &[f32]) -> bool {
    // The exponent of such values is all ones. A loop without branches is vectorized.
    const EXPONENT: u32 = 0x7F80_0000;
    values.chunks(4096).all(|chunk| {
        let worst = chunk.iter().fold(0, |worst, value| worst.max(value.to_bits() & EXPONENT));
        worst < EXPONENT
    })
}

impl Learner for Network {
    fn layout(&self) -> &Layout {
        &self.plan.layout
    }

    fn gradients(
        &mut self,
        parameters: &[f32],
        batch: &Batch,
        gradients: &mut [f32],
    ) -> Result<f32, TrainError> {
        self.check_parameters(gradients)?;
        let plan = Arc::clone(&self.plan);
        let mut keep = |entry: usize, gradient: &[f32]| {
            gradients[plan.layout.entries()[entry].range.clone()].copy_from_slice(gradient);
        };
        self.compute_gradients(parameters, batch, Overlap::None, &mut keep)
    }

    fn gradients_as_ready(
        &mut self,
        parameters: &[f32],
        batch: &Batch,
        ready: &mut dyn FnMut(usize, &[f32]),
    ) -> Result<f32, TrainError> {
        self.compute_gradients(parameters, batch, Overlap::Backward, ready)
    }

    fn predict(&mut self, parameters: &[f32], input: &Input) -> Result<Vec<f32>, TrainError> {
        self.check(input)?;
        self.load_parameters(parameters)?;
        match self.run(input, RunTarget::Output, &mut |_, _| {})? {
            Value::Floats(result) => Ok(Dense::of(result.primitive()).values().to_vec()),
            Value::Ints(_) => {
                Err(TrainError::Data("the model outputs integers, not floats".to_owned()))
            }
        }
    }
}

/// Work that overlaps with the caller's use of a gradient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Overlap {
    /// None: gradients are passed on after the backward pass, which is cheapest.
    None,
    /// The backward pass, on another thread.
    Backward,
}

impl Network {
    fn compute_gradients(
        &mut self,
        parameters: &[f32],
        batch: &Batch,
        overlap: Overlap,
        ready: &mut dyn FnMut(usize, &[f32]),
    ) -> Result<f32, TrainError> {
        self.check(&batch.input)?;
        self.load_parameters(parameters)?;
        let (sender, receiver) = channel();
        let mut pass = Pass { seed: Some(self.seed(&batch.input)), statistics: Vec::new() };
        let (root, loss) = self.forward(batch, &sender, &mut pass)?;
        drop(sender);
        if !loss.is_finite() {
            return Err(self.not_finite(batch, loss));
        }
        let mut is_emitted = vec![false; self.plan.layout.entries().len()];
        let mut emit = |entry: usize, values: &[f32]| -> Result<(), TrainError> {
            self.check_gradient(entry, values)?;
            is_emitted[entry] = true;
            ready(entry, values);
            Ok(())
        };
        for (entry, deltas) in pass.statistics.iter().rev() {
            emit(*entry, deltas)?;
        }
        std::thread::scope(|scope| {
            let backward = move || {
                if root.is_tracked() {
                    drop(Diff::backward(root));
                }
            };
            match overlap {
                Overlap::None => backward(),
                Overlap::Backward => drop(scope.spawn(backward)),
            }
            let mut found = receiver.iter();
            found.try_for_each(|(entry, gradient)| emit(entry, Dense::of(&gradient).values()))
        })?;
        self.emit_zeros(&is_emitted, ready);
        Ok(loss)
    }

    /// Checks that a gradient is finite.
    fn check_gradient(&self, entry: usize, values: &[f32]) -> Result<(), TrainError> {
        if is_finite(values) {
            return Ok(());
        }
        let value = values.iter().copied().find(|value| !value.is_finite()).unwrap_or(f32::NAN);
        let what = format!("the gradient of '{}'", self.plan.layout.entries()[entry].name);
        Err(TrainError::NotFinite { what, value })
    }

    /// Emits zeros for parameters that the loss does not depend on.
    fn emit_zeros(&self, is_emitted: &[bool], ready: &mut dyn FnMut(usize, &[f32])) {
        let entries = self.plan.layout.entries().iter().enumerate();
        for (index, entry) in entries.filter(|(index, _)| !is_emitted[*index]) {
            ready(index, &vec![0.0; entry.range.len()]);
        }
    }
}
