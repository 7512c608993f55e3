//! Training tasks: models that can be trained.

use crate::error::TrainError;
use crate::layout::Layout;
use crate::learner::Learner;
use crate::network::{Distillation, Network, trained_output};
use skysail_graph::Model;

/// A model to train; creates a learner for each rank.
pub trait TrainTask: Sync {
    /// Layout of the parameters.
    fn layout(&self) -> &Layout;

    /// Initial parameters.
    fn initial_parameters(&self) -> Vec<f32>;

    /// Creates the learner of one rank.
    ///
    /// # Errors
    /// Fails when the model cannot be trained.
    fn learner(&self) -> Result<Box<dyn Learner>, TrainError>;

    /// Returns true if the model outputs probabilities rather than logits.
    fn outputs_probabilities(&self) -> bool {
        false
    }
}

/// A whole model with all weights trained.
pub struct NetworkTask {
    model: Model,
    layout: Layout,
    start: Vec<f32>,
    outputs_probabilities: bool,
    teacher: Option<(Model, Distillation)>,
}

impl NetworkTask {
    /// Checks that the model can be trained.
    ///
    /// # Errors
    /// Fails when a node of the model has no gradient.
    pub fn new(model: Model) -> Result<Self, TrainError> {
        let network = Network::new(&model)?;
        let (layout, start) = (network.layout().clone(), network.parameters());
        let outputs_probabilities = ends_with_softmax(&model);
        Ok(Self { model, layout, start, outputs_probabilities, teacher: None })
    }

    /// Adds distillation from a teacher model to the loss.
    ///
    /// # Errors
    /// Fails when the teacher cannot be run.
    pub fn with_teacher(
        mut self,
        teacher: &Model,
        settings: Distillation,
    ) -> Result<Self, TrainError> {
        Network::new(teacher)?;
        self.teacher = Some((teacher.clone(), settings));
        Ok(self)
    }

    /// A copy of the model with these parameters, ready for serving.
    ///
    /// # Errors
    /// Fails when the parameters do not fit the model.
    pub fn trained(&self, parameters: &[f32]) -> Result<Model, TrainError> {
        let mut model = self.model.clone();
        Network::new(&self.model)?.write(&mut model, parameters)?;
        Ok(model)
    }

    /// The original model.
    pub fn model(&self) -> &Model {
        &self.model
    }
}

impl TrainTask for NetworkTask {
    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn initial_parameters(&self) -> Vec<f32> {
        self.start.clone()
    }

    fn learner(&self) -> Result<Box<dyn Learner>, TrainError> {
        let network = Network::new(&self.model)?;
        Ok(Box::new(match &self.teacher {
            Some((teacher, settings)) => network.with_teacher(Network::new(teacher)?, *settings)?,
            None => network,
        }))
    }

    fn outputs_probabilities(&self) -> bool {
        self.outputs_probabilities
    }
}

/// Returns true if a softmax produces the trained output.
pub(crate) fn ends_with_softmax(model: &Model) -> bool {
    let graph = model.graph();
    let producer = trained_output(model).and_then(|output| graph.links().producer(&output.name));
    producer.is_some_and(|node| node.op_type() == "Softmax")
}
