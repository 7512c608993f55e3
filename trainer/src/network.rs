//! Runs and learns the graph of a model.
//!
//! [`Network::new`] makes the graph ready once; a step then runs its nodes in their order over
//! `burn`'s tensors, and `burn`'s autodiff goes back through them.

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
use self::plan::{Plan, Until, check_shape};
use self::tap::{Found, tapped};
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

/// A model that can learn: its graph, and room for its parameters' values.
///
/// It learns the first output of floats of a graph with one input. Floats of all precisions are `f32`
/// here. Where the file says the number of rows, batches of other sizes still do, as far as the
/// graph's own constants let them.
#[derive(Debug, Clone)]
pub struct Network {
    plan: Arc<Plan>,
    initial: Arc<Vec<f32>>,
    /// The parameters' tensors of the last step, whose memory the next one takes.
    held: Vec<FlexTensor>,
    /// Whom it learns from besides the labels, if from anyone.
    teacher: Option<Box<Teacher>>,
}

/// The output that a model learns: the first of floats, as a label that is chosen by them can
/// not be learned; the first of all where none is.
pub(crate) fn learned_output(model: &Model) -> Option<ValueInfo> {
    let outputs = model.graph().outputs();
    let is_label = |output: &ValueInfo| {
        matches!(output.kind.element(), Some(ElementType::Int32 | ElementType::Int64))
    };
    let learned = outputs.iter().position(|output| !is_label(output)).unwrap_or(0);
    outputs.into_iter().nth(learned)
}

impl Network {
    /// Makes the graph of `model` ready to learn.
    ///
    /// # Errors
    /// `Unsupported` with the node's name when an operator, or what it is asked for, is not
    /// known; `Graph` when the file is broken; `Data` when it has not one input and an output.
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
        Ok(Self { plan, initial, held: Vec::new(), teacher: None })
    }

    /// The same, where classes are learned from another model too, with the values that its
    /// parameters have in the file.
    ///
    /// # Errors
    /// When the other model has not the parameters that it says.
    pub fn taught_by(mut self, teacher: Self, how: Distillation) -> Result<Self, TrainError> {
        self.teacher = Some(Box::new(Teacher::new(teacher, how)?));
        Ok(self)
    }

    /// The values that the parameters have in the file.
    pub fn parameters(&self) -> Vec<f32> {
        self.initial.to_vec()
    }

    /// Puts `parameters` into `model`, the one that this network was made of (or one with the
    /// same initializers), rounded to the precision that they have there.
    ///
    /// # Errors
    /// `Data` when `parameters` are not as many as the layout says, or the model has no
    /// initializer of a name.
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
        Err(TrainError::Data(format!("it has {wanted} parameters, and {given} are given")))
    }

    /// Copies the parameters into tensors, those of the last step where these are free again.
    fn hold(&mut self, parameters: &[f32]) -> Result<(), TrainError> {
        self.check_parameters(parameters)?;
        let entries = self.plan.layout.entries();
        self.held.truncate(entries.len());
        for (place, entry) in entries.iter().enumerate() {
            let values = &parameters[entry.range.clone()];
            match self.held.get_mut(place).and_then(|held| held.try_storage_mut::<f32>()) {
                Some(held) => held.copy_from_slice(values),
                None => {
                    let fresh = tensor(&entry.shape, values.to_vec());
                    self.held.truncate(place);
                    self.held.push(fresh);
                }
            }
        }
        Ok(())
    }

    /// Runs the graph without learning.
    fn run(
        &self,
        input: &Input,
        until: Until,
        seen: &mut dyn FnMut(&plan::Step, &Value),
    ) -> Result<Value, TrainError> {
        let mut parameters = |step: usize, _: &Inputs| {
            let plain = |entry: usize| Value::Floats(Floats::new(self.held[entry].clone()));
            self.first_taken(step)
                .map(|entry| (self.plan.parameters[entry], plain(entry)))
                .collect()
        };
        let mut pass = Pass::default();
        self.plan.run(&mut parameters, value_of(input), until, &mut pass, seen)
    }

    /// The parameters that `step` is the first to take.
    fn first_taken(&self, step: usize) -> impl Iterator<Item = usize> + use<'_> {
        let consumers = self.plan.first_consumers.iter().enumerate();
        consumers.filter(move |(_, consumer)| **consumer == step).map(|(entry, _)| entry)
    }

    /// Runs the graph and its loss so that the backward pass sends gradients to `sender`.
    fn forward(
        &self,
        batch: &Batch,
        sender: &Sender<Found>,
        pass: &mut Pass,
    ) -> Result<(Floats, f32), TrainError> {
        let entries = self.plan.layout.entries();
        let mut parameters = |step: usize, inputs: &Inputs| {
            let mut beside = None;
            for input in inputs.0.iter().flatten() {
                if let Value::Floats(input) = input
                    && input.is_tracked()
                {
                    beside = Some(input.clone());
                }
            }
            let value = |entry: usize| match entries[entry].kind {
                EntryKind::Statistic => Floats::new(self.held[entry].clone()),
                _ => tapped(&self.held[entry], beside.as_ref(), entry, sender),
            };
            let pairs = self.first_taken(step);
            pairs.map(|entry| (self.plan.parameters[entry], Value::Floats(value(entry)))).collect()
        };
        let (until, teacher) = match batch.targets {
            Targets::Classes(_) => (Until::Logits, self.teacher.as_ref()),
            Targets::Numbers(_) => (Until::Output, None),
        };
        let input = value_of(&batch.input);
        let made = self.plan.run(&mut parameters, input, until, pass, &mut |_, _| {})?;
        let Value::Floats(made) = made else {
            return Err(TrainError::Data("the model makes integers, not floats".to_owned()));
        };
        let lesson = teacher.map(|teacher| teacher.lesson(&batch.input)).transpose()?;
        loss::of(&made, &batch.targets, batch.rows(), lesson.as_ref())
    }

    /// Checks that a batch can be given to the graph.
    fn check(&self, input: &Input) -> Result<(), TrainError> {
        let wanted = input.shape.iter().try_fold(1_usize, |all, dim| all.checked_mul(*dim));
        let given = match &input.values {
            Values::Float32(values) => values.len(),
            Values::Int64(values) => values.len(),
        };
        if wanted != Some(given) {
            let shape = &input.shape;
            return Err(TrainError::Data(format!("{given} values are none of shape {shape:?}")));
        }
        check_shape(&self.plan.input, &input.shape)
    }

    /// Names the first node that makes what is no number.
    fn not_finite(&self, batch: &Batch, loss: f32) -> TrainError {
        let mut first = None;
        let mut seen = |step: &plan::Step, value: &Value| {
            if let Value::Floats(made) = value
                && first.is_none()
                && !is_finite(Dense::of(made.primitive()).values())
            {
                first = Some(step.name.clone());
            }
        };
        // What goes wrong here went wrong before: the loss is what is told.
        let _ = self.run(&batch.input, Until::Output, &mut seen);
        let what = match first {
            Some(node) => format!("the loss, by what node '{node}' makes,"),
            None => "the loss".to_owned(),
        };
        TrainError::NotFinite { what, value: loss }
    }

    /// The seed of a step's random numbers: a function of its batch and parameters.
    fn seed(&self, input: &Input) -> u64 {
        let first = |held: &FlexTensor| held.storage::<f32>().first().copied().unwrap_or(0.0);
        let parameters = self.held.iter().map(|held| u64::from(first(held).to_bits()));
        match &input.values {
            Values::Float32(values) => {
                // A part of the numbers tells batches apart.
                let step = values.len().div_ceil(4096).max(1);
                seed_of(parameters.chain(values.iter().step_by(step).map(|v| v.to_bits().into())))
            }
            Values::Int64(values) => {
                seed_of(parameters.chain(values.iter().map(|value| value.cast_unsigned())))
            }
        }
    }
}

/// The rows as the graph's input.
fn value_of(input: &Input) -> Value {
    match &input.values {
        Values::Float32(values) => Value::floats(&input.shape, values.clone()),
        Values::Int64(values) => Value::ints(&input.shape, values.clone()),
    }
}

/// Whether all are numbers, and none is infinite.
fn is_finite(values: &[f32]) -> bool {
    // All ones in the exponent; without branches, so that it goes many at a time.
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
        self.learn(parameters, batch, Overlap::None, &mut keep)
    }

    fn gradients_as_ready(
        &mut self,
        parameters: &[f32],
        batch: &Batch,
        ready: &mut dyn FnMut(usize, &[f32]),
    ) -> Result<f32, TrainError> {
        self.learn(parameters, batch, Overlap::Backward, ready)
    }

    fn predict(&mut self, parameters: &[f32], input: &Input) -> Result<Vec<f32>, TrainError> {
        self.check(input)?;
        self.hold(parameters)?;
        match self.run(input, Until::Output, &mut |_, _| {})? {
            Value::Floats(made) => Ok(Dense::of(made.primitive()).values().to_vec()),
            Value::Ints(_) => {
                Err(TrainError::Data("the model makes integers, not floats".to_owned()))
            }
        }
    }
}

/// What goes on while a caller has a gradient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Overlap {
    /// Nothing: gradients are given after the backward pass, which costs least.
    None,
    /// The backward pass, on a thread of its own.
    Backward,
}

impl Network {
    fn learn(
        &mut self,
        parameters: &[f32],
        batch: &Batch,
        overlap: Overlap,
        ready: &mut dyn FnMut(usize, &[f32]),
    ) -> Result<f32, TrainError> {
        self.check(&batch.input)?;
        self.hold(parameters)?;
        let (sender, receiver) = channel();
        let mut pass = Pass { seed: Some(self.seed(&batch.input)), statistics: Vec::new() };
        let (root, loss) = self.forward(batch, &sender, &mut pass)?;
        drop(sender);
        if !loss.is_finite() {
            return Err(self.not_finite(batch, loss));
        }
        let mut is_given = vec![false; self.plan.layout.entries().len()];
        let mut give = |entry: usize, values: &[f32]| -> Result<(), TrainError> {
            self.check_gradient(entry, values)?;
            is_given[entry] = true;
            ready(entry, values);
            Ok(())
        };
        for (entry, falls) in pass.statistics.iter().rev() {
            give(*entry, falls)?;
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
            found.try_for_each(|(entry, gradient)| give(entry, Dense::of(&gradient).values()))
        })?;
        self.give_zeros(&is_given, ready);
        Ok(loss)
    }

    /// Checks that a gradient is made of numbers.
    fn check_gradient(&self, entry: usize, values: &[f32]) -> Result<(), TrainError> {
        if is_finite(values) {
            return Ok(());
        }
        let value = values.iter().copied().find(|value| !value.is_finite()).unwrap_or(f32::NAN);
        let what = format!("the gradient of '{}'", self.plan.layout.entries()[entry].name);
        Err(TrainError::NotFinite { what, value })
    }

    /// Gives zeros for parameters that the loss does not depend on.
    fn give_zeros(&self, is_given: &[bool], ready: &mut dyn FnMut(usize, &[f32])) {
        let entries = self.plan.layout.entries().iter().enumerate();
        for (index, entry) in entries.filter(|(index, _)| !is_given[*index]) {
            ready(index, &vec![0.0; entry.range.len()]);
        }
    }
}
