//! An ONNX model as an editable graph: loaded, inspected, changed and saved.
//!
//! [`Model`] owns the model. [`Model::graph`] is a view of its nodes, inputs, outputs and
//! initializers. [`Graph::weights`] finds the weights, [`Graph::links`] the producers and consumers
//! of values, and [`Graph::shapes`] the type and shape of each value. [`Model::edit`] collects
//! changes of the nodes. [`GraphBuilder`] builds a new model. This crate runs no model.
//!
//! Bytes from outside are never trusted. They lead to a model or a [`GraphError`], and memory stays
//! in proportion to them.
//!
//! ```
//! use skysail_graph::{Model, Tensor, mlp};
//!
//! # fn main() -> Result<(), skysail_graph::GraphError> {
//! let mut model = mlp(&[4, 3, 2], 7)?;
//! for weight in model.graph().weights()? {
//!     println!("{} feeds {}", weight.tensor.name(), weight.node.op_type());
//! }
//! model.set_initializer("fc0.bias", Tensor::new(&[3], &[0.0_f32; 3])?);
//! let same = Model::from_bytes(&model.to_bytes()?)?;
//! assert_eq!(same.graph().inputs()[0].to_string(), "input: float32 tensor [batch, 4]");
//! # Ok(())
//! # }
//! ```

mod model;
mod wire;
mod wire_schema;
mod presence;
mod graph;
mod links;
mod scope;
mod size;
mod value;
mod node;
mod element;
mod tensor;
mod external;
mod constant;
mod walk;
mod functions;
mod weights;
mod shapes;
mod rows;
mod edit;
mod new_node;
mod builder;
mod builders;
mod random;
mod atomic;
mod error;

pub use atomic::write_atomically;
pub use builder::GraphBuilder;
pub use builders::{
    ResNetSettings, TransformerSettings, fed_avg_cnn, lenet_5, lenet_300_100, mlp, resnet,
    transformer_encoder, two_nn,
};
pub use edit::Edit;
pub use element::{Element, ElementType};
pub use error::GraphError;
pub use graph::Graph;
pub use links::{Consumer, Links};
pub use model::{MODEL_BYTES_MAX, Model};
pub use new_node::NewNode;
pub use node::{Attribute, Node};
pub use random::{SplitMix64, mix64};
pub use rows::{Independence, OutputShape, RowCause};
pub use shapes::Shapes;
pub use size::Size;
pub use tensor::{Tensor, TensorView};
pub use value::{Dim, Kind, ValueInfo};
pub use weights::{Layout, Role, Weight};
