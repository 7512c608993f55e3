//! Tests of calibration with a runner that runs nothing.

use super::*;
use skysail_graph::{Dim, GraphBuilder};

/// Returns the first input for each wanted value, whatever the model.
pub(crate) struct Echo;

impl Runner for Echo {
    fn load<'a>(
        &'a mut self,
        _: &Model,
        wanted: &[String],
    ) -> Result<Box<dyn Run + 'a>, RunnerError> {
        Ok(Box::new(Echoing(wanted.len())))
    }
}

struct Echoing(usize);

impl Run for Echoing {
    fn run(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>, RunnerError> {
        Ok(vec![inputs[0].clone(); self.0])
    }
}

fn model() -> Model {
    let mut builder = GraphBuilder::new("two inputs");
    builder
        .input("x", ElementType::Float32, &[Dim::from("batch"), Dim::from(2)])
        .input("ids", ElementType::Int64, &[Dim::from("batch")])
        .node("Relu", &["x"], &["y"], &[])
        .output("y", ElementType::Float32, &[Dim::from("batch"), Dim::from(2)]);
    builder.finish().unwrap()
}

fn x(shape: &[u64], values: &[f32]) -> (String, Tensor) {
    ("x".into(), Tensor::new(shape, values).unwrap())
}

fn ids(values: &[i64]) -> (String, Tensor) {
    ("ids".into(), Tensor::new(&[values.len() as u64], values).unwrap())
}

fn seen(batches: &[Batch]) -> Result<HashMap<String, Histogram>, CompressError> {
    Calibration { runner: &mut Echo, batches }.histograms(&model(), &["y".into()])
}

#[test]
fn inputs_may_come_in_any_order() {
    let batches = [
        vec![x(&[1, 2], &[1.0, -4.0]), ids(&[7])],
        vec![ids(&[1, 2]), x(&[2, 2], &[0.0, 3.0, 0.0, 0.0])],
    ];
    let found = seen(&batches).unwrap();
    assert_eq!((found["y"].count(), found["y"].bounds()), (6, Some((-4.0, 3.0))));
    let mut calibration = Calibration { runner: &mut Echo, batches: &batches };
    let magnitudes = calibration.channel_magnitudes(&model(), &["y".into()]).unwrap();
    assert_eq!(magnitudes["y"].magnitudes(), [1.0, 4.0]);
}

#[test]
fn an_error_names_the_input_that_does_not_fit() {
    let message = |batch| seen(&[batch]).unwrap_err().to_string();
    let good = || x(&[1, 2], &[0.0; 2]);
    let shape = message(vec![x(&[1, 3], &[0.0; 3]), ids(&[1])]);
    let expected = "calibration batch 0: input 'x' must be float32 tensor [batch, 2], and is \
                    float32 [1, 3]";
    assert_eq!(shape, expected);
    assert!(message(vec![x(&[2], &[0.0; 2]), ids(&[1])]).contains("and is float32 [2]"));
    let element = ("ids".to_owned(), Tensor::new(&[1], &[1.0_f32]).unwrap());
    assert!(
        message(vec![good(), element])
            .contains("'ids' must be int64 tensor [batch], and is float32 [1]")
    );
    assert!(message(vec![good()]).contains("input 'ids' is missing"));
    assert!(message(vec![good(), good(), ids(&[1])]).contains("input 'x' is given twice"));
    let other = ("idx".to_owned(), ids(&[1]).1);
    assert!(message(vec![good(), other]).contains("no input 'idx'; its inputs are 'ids', 'x'"));
    let nan = message(vec![x(&[1, 2], &[0.0, f32::NAN]), ids(&[1])]);
    assert_eq!(nan, "value 'y' holds NaN in calibration batch 0: it cannot be quantized");
    assert!(seen(&[]).unwrap_err().to_string().contains("at least one batch"));
}
