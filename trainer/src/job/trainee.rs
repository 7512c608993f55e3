//! What is trained.

use crate::error::TrainError;
use crate::layout::Layout;
use crate::learner::Learner;
use crate::network::{Distillation, Network, learned_output};
use skysail_graph::Model;

/// What is trained: gives each rank a learner of its own.
pub trait Trainee: Sync {
    /// Where its parameters lie.
    fn layout(&self) -> &Layout;

    /// What its parameters begin as.
    fn start(&self) -> Vec<f32>;

    /// Gives the gradients, for one rank.
    ///
    /// # Errors
    /// When the model can not be trained.
    fn learner(&self) -> Result<Box<dyn Learner>, TrainError>;

    /// Whether the model's output are probabilities already.
    fn gives_probabilities(&self) -> bool {
        false
    }
}

/// A whole model, all of whose weights are trained.
pub struct NetworkTrainee {
    model: Model,
    layout: Layout,
    start: Vec<f32>,
    gives_probabilities: bool,
    teacher: Option<(Model, Distillation)>,
}

impl NetworkTrainee {
    /// Checks that the model can be trained.
    ///
    /// # Errors
    /// When it has a node that can not be trained through.
    pub fn new(model: Model) -> Result<Self, TrainError> {
        let network = Network::new(&model)?;
        let (layout, start) = (network.layout().clone(), network.parameters());
        let gives_probabilities = ends_with_softmax(&model);
        Ok(Self { model, layout, start, gives_probabilities, teacher: None })
    }

    /// The same, where it learns from another model too, not from labels alone.
    ///
    /// # Errors
    /// When the other model can not be run.
    pub fn taught_by(mut self, teacher: &Model, how: Distillation) -> Result<Self, TrainError> {
        Network::new(teacher)?;
        self.teacher = Some((teacher.clone(), how));
        Ok(self)
    }

    /// The model with these parameters, as it is served.
    ///
    /// # Errors
    /// When they are not those of this model.
    pub fn trained(&self, parameters: &[f32]) -> Result<Model, TrainError> {
        let mut model = self.model.clone();
        Network::new(&self.model)?.write(&mut model, parameters)?;
        Ok(model)
    }

    /// The model as it was.
    pub fn model(&self) -> &Model {
        &self.model
    }
}

impl Trainee for NetworkTrainee {
    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn start(&self) -> Vec<f32> {
        self.start.clone()
    }

    fn learner(&self) -> Result<Box<dyn Learner>, TrainError> {
        let network = Network::new(&self.model)?;
        Ok(Box::new(match &self.teacher {
            Some((teacher, how)) => network.taught_by(Network::new(teacher)?, *how)?,
            None => network,
        }))
    }

    fn gives_probabilities(&self) -> bool {
        self.gives_probabilities
    }
}

/// Whether the output that is learned comes out of a softmax.
pub(crate) fn ends_with_softmax(model: &Model) -> bool {
    let graph = model.graph();
    let producer = learned_output(model).and_then(|output| graph.links().producer(&output.name));
    producer.is_some_and(|node| node.op_type() == "Softmax")
}
