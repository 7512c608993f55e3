//! Tests of embedding tables as int8.

use super::*;
use crate::layers::to_f16;
use skysail_graph::{Dim, GraphBuilder, Tensor};

/// Builds a model that picks rows of two half-precision tables, one of them small.
fn model() -> Model {
    let values: Vec<f32> =
        (0..1 << 14).map(|position| (position as f32).sin() * (1 + position % 2) as f32).collect();
    let wide = [("to", Attribute::Int(1))];
    let dims = [Dim::from("batch"), Dim::from("sequence")];
    let rows = [Dim::from("batch"), Dim::from("sequence"), Dim::from(2)];
    let mut builder = GraphBuilder::new("tables");
    builder
        .input("ids", ElementType::Int64, &dims)
        .initializer("words", Tensor::new(&[1 << 13, 2], &to_f16(&values)).unwrap())
        .initializer("types", Tensor::new(&[2, 2], &to_f16(&values[..4])).unwrap())
        .node("Cast", &["words"], &["words.wide"], &wide)
        .node("Cast", &["types"], &["types.wide"], &wide)
        .node("Gather", &["words.wide", "ids"], &["word"], &[])
        .node("Gather", &["types.wide", "ids"], &["type"], &[])
        .node("Add", &["word", "type"], &["y"], &[])
        .output("y", ElementType::Float32, &rows);
    builder.finish().unwrap()
}

#[test]
fn rows_are_picked_as_bytes_and_small_tables_stay() {
    let mut model = model();
    let report = quantize_tables(&mut model, Int8Weights::default()).unwrap();
    assert_eq!((report.tensors.len(), report.tensors[0].stored.as_str()), (1, "words"));
    let graph = model.graph();
    let (links, table) = (graph.links(), graph.initializer("words").unwrap());
    assert_eq!(table.element(), ElementType::Int8);
    let widen = links.producer("word").unwrap();
    assert_eq!((widen.op_type(), widen.int("axis").unwrap()), ("DequantizeLinear", Some(-1)));
    assert_eq!(links.producer(&widen.inputs()[0]).unwrap().op_type(), "Gather");
    let scales = graph.initializer(&widen.inputs()[1]).unwrap().as_f32().unwrap().into_owned();
    assert!(scales.len() == 2 && (scales[1] / scales[0] - 2.0).abs() < 0.01, "{scales:?}");
    assert_eq!(graph.initializer("types").unwrap().element(), ElementType::Float16);
    assert_eq!(graph.shapes().element("y"), Some(ElementType::Float32));
}

#[test]
fn one_scale_needs_no_axis() {
    let mut model = model();
    let whole = Int8Weights { granularity: Granularity::Tensor, bits: 6 };
    let report = quantize_tables(&mut model, whole).unwrap();
    assert_eq!(report.tensors[0].scales, 1);
    let links = model.graph().links();
    assert_eq!(links.producer("word").unwrap().int("axis").unwrap(), None);
    let table = model.graph().initializer("words").unwrap();
    assert!(table.values::<i8>().unwrap().iter().all(|code| (-31..=31).contains(code)));
}
