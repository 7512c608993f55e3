//! Synthetic inputs of a model, if there are no typical ones.

use skysail_compression::Batch;
use skysail_graph::{Dim, ElementType, Graph, Kind, Links, Model, SplitMix64, Tensor, ValueInfo};

/// Number of rows, and size of any other open dimension.
const ROWS: u64 = 4;
const OPEN_SIZE: u64 = 8;

/// Limit of the elements of an input.
const ELEMENTS_MAX: u64 = 1 << 24;

/// Returns one batch: floats from -1 to 1, valid indices of tables, and else 0 and 1.
///
/// # Errors
/// Reason why there is no batch.
pub(crate) fn synthetic_batch(model: &Model) -> Result<Batch, String> {
    let graph = model.graph();
    let links = graph.links();
    let mut random = SplitMix64::new(0);
    let inputs = graph.inputs().into_iter();
    inputs
        .map(|input| Ok((input.name.clone(), tensor(&input, graph, &links, &mut random)?)))
        .collect()
}

fn tensor(
    input: &ValueInfo,
    graph: Graph<'_>,
    links: &Links<'_>,
    random: &mut SplitMix64,
) -> Result<Tensor, String> {
    let not_possible = |why: &str| format!("no input '{}' can be generated: {why}", input.name);
    let Kind::Tensor { element, dims: Some(dims) } = &input.kind else {
        return Err(not_possible("its shape is not known"));
    };
    let size = |(position, dim): (usize, &Dim)| match dim {
        Dim::Fixed(size) => *size,
        _ if position == 0 => ROWS,
        _ => OPEN_SIZE,
    };
    let shape: Vec<u64> = dims.iter().enumerate().map(size).collect();
    let count = shape.iter().try_fold(1_u64, |count, size| count.checked_mul(*size));
    let count = count.filter(|count| *count <= ELEMENTS_MAX);
    let count = count.ok_or_else(|| not_possible("it is too large"))?;
    let limit = positions(&input.name, graph, links);
    let mut integers =
        || (0..count).map(|_| (random.next_u64() % limit) as i64).collect::<Vec<_>>();
    let made = match element {
        ElementType::Int64 => Tensor::new(&shape, &integers()),
        ElementType::Int32 => {
            let integers: Vec<i32> = integers().into_iter().map(|value| value as i32).collect();
            Tensor::new(&shape, &integers)
        }
        ElementType::Bool => Tensor::from_bytes(*element, &shape, vec![1; count as usize]),
        ElementType::Float32 => {
            let values: Vec<f32> = (0..count).map(|_| random.uniform(1.0)).collect();
            Tensor::new(&shape, &values)
        }
        ElementType::UInt8 => {
            let bytes = (0..count).map(|_| random.next_u64() as u8).collect();
            Tensor::from_bytes(*element, &shape, bytes)
        }
        other => return Err(not_possible(&format!("it is of {other}"))),
    };
    made.map_err(|error| not_possible(&error.to_string()))
}

/// Returns the rows of the smallest table that this input indexes, else 2.
fn positions(input: &str, graph: Graph<'_>, links: &Links<'_>) -> u64 {
    let rows = links.consumers(input).iter().filter_map(|consumer| {
        let node = consumer.node;
        let is_table = node.op_type() == "Gather" && node.int("axis").ok()?.unwrap_or(0) == 0;
        let table = node.inputs().first().filter(|_| is_table && consumer.input == Some(1))?;
        let rows = graph.initializer(table)?.shape().ok()?.first().copied()?;
        Some(rows.max(1))
    });
    rows.min().unwrap_or(2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use skysail_graph::GraphBuilder;

    #[test]
    fn synthetic_inputs_fit_the_model() {
        let mut builder = GraphBuilder::new("m");
        let dims = [Dim::from("batch"), Dim::from(3)];
        builder
            .input("ids", ElementType::Int64, &dims)
            .input("x", ElementType::Float32, &dims)
            .initializer("table", Tensor::new(&[5, 3], &[0.5_f32; 15]).unwrap())
            .node("Gather", &["table", "ids"], &["rows"], &[])
            .node("Add", &["rows", "x"], &["y"], &[])
            .output("y", ElementType::Float32, &[Dim::from("batch"), Dim::from(3), Dim::from(3)]);
        let batch = synthetic_batch(&builder.finish().unwrap()).unwrap();
        let ids: Vec<i64> = bytemuck::pod_collect_to_vec(batch[0].1.bytes());
        assert_eq!((batch[0].1.shape(), ids.len()), (&[4, 3][..], 12));
        assert!(ids.iter().all(|id| (0..5).contains(id)) && ids.iter().any(|id| *id > 1));
        let x: Vec<f32> = bytemuck::pod_collect_to_vec(batch[1].1.bytes());
        assert!(x.iter().all(|x| x.abs() <= 1.0) && x.iter().any(|x| *x < 0.0));
    }
}
