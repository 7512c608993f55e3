//! Tensors as inputs and outputs of runs.

use crate::generator::{Generator, Input};
use crate::proto::Side;
use ort::session::builder::GraphOptimizationLevel;
use ort::session::{Session, SessionInputValue};
use ort::value::{DynValue, Tensor, TensorElementType, ValueType};
use skysail_graph::{ElementType, Model};

/// Elements in row-major order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Data {
    F32(Vec<f32>),
    F64(Vec<f64>),
    I64(Vec<i64>),
    I32(Vec<i32>),
    U8(Vec<u8>),
    I8(Vec<i8>),
    Bool(Vec<bool>),
    Text(Vec<String>),
}

/// A tensor.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Array {
    pub(crate) dims: Vec<usize>,
    pub(crate) data: Data,
}

macro_rules! each {
    ($data:expr, $values:ident => $then:expr) => {
        match $data {
            Data::F32($values) => Data::F32($then),
            Data::F64($values) => Data::F64($then),
            Data::I64($values) => Data::I64($then),
            Data::I32($values) => Data::I32($then),
            Data::U8($values) => Data::U8($then),
            Data::I8($values) => Data::I8($then),
            Data::Bool($values) => Data::Bool($then),
            Data::Text($values) => Data::Text($then),
        }
    };
}

impl Array {
    /// The row of this index.
    pub(crate) fn row(&self, row: usize) -> Self {
        let size: usize = self.dims[1..].iter().product();
        let range = row * size..(row + 1) * size;
        let data = each!(&self.data, values => values[range].to_vec());
        Self { dims: [vec![1], self.dims[1..].to_vec()].concat(), data }
    }

    /// Stacks rows to one tensor.
    pub(crate) fn stacked(rows: &[&Self]) -> Self {
        let mut all = rows[0].clone();
        for row in &rows[1..] {
            all.dims[0] += row.dims[0];
            match (&mut all.data, &row.data) {
                (Data::F32(a), Data::F32(b)) => a.extend(b),
                (Data::I64(a), Data::I64(b)) => a.extend(b),
                (Data::I32(a), Data::I32(b)) => a.extend(b),
                (Data::U8(a), Data::U8(b)) => a.extend(b),
                (Data::I8(a), Data::I8(b)) => a.extend(b),
                (Data::Bool(a), Data::Bool(b)) => a.extend(b),
                (Data::Text(a), Data::Text(b)) => a.extend(b.iter().cloned()),
                _ => panic!("rows of one type"),
            }
        }
        all
    }

    fn value(&self) -> ort::Result<SessionInputValue<'static>> {
        let dims: Vec<i64> = self.dims.iter().map(|dim| *dim as i64).collect();
        Ok(match self.data.clone() {
            Data::F32(values) => Tensor::from_array((dims, values))?.into(),
            Data::F64(values) => Tensor::from_array((dims, values))?.into(),
            Data::I64(values) => Tensor::from_array((dims, values))?.into(),
            Data::I32(values) => Tensor::from_array((dims, values))?.into(),
            Data::U8(values) => Tensor::from_array((dims, values))?.into(),
            Data::I8(values) => Tensor::from_array((dims, values))?.into(),
            Data::Bool(values) => Tensor::from_array((dims, values))?.into(),
            Data::Text(values) => Tensor::from_string_array((dims, &values[..]))?.into(),
        })
    }

    fn of(value: &DynValue) -> Option<Self> {
        let ValueType::Tensor { ty, .. } = value.dtype() else { return None };
        macro_rules! taken {
            ($type:ty, $kind:ident) => {{
                let (dims, values) = value.try_extract_tensor::<$type>().ok()?;
                (dims.to_vec(), Data::$kind(values.to_vec()))
            }};
        }
        let (dims, data) = match ty {
            TensorElementType::Float32 => taken!(f32, F32),
            TensorElementType::Float64 => taken!(f64, F64),
            TensorElementType::Int64 => taken!(i64, I64),
            TensorElementType::Int32 => taken!(i32, I32),
            TensorElementType::Uint8 => taken!(u8, U8),
            TensorElementType::Int8 => taken!(i8, I8),
            TensorElementType::Bool => taken!(bool, Bool),
            TensorElementType::String => {
                let (dims, values) = value.try_extract_strings().ok()?;
                (dims.to_vec(), Data::Text(values))
            }
            _ => return None,
        };
        let dims = dims.into_iter().map(|dim| usize::try_from(dim).ok()).collect::<Option<_>>()?;
        Some(Self { dims, data })
    }
}

/// Outputs of a run, in order; `None` for those that are no tensors.
pub(crate) type Outputs = Vec<Option<Array>>;

/// Runs the session. The error is in words.
pub(crate) fn run(session: &mut Session, inputs: &[Array]) -> Result<Outputs, String> {
    let names: Vec<String> = session.inputs().iter().map(|input| input.name().to_owned()).collect();
    let values = inputs.iter().map(Array::value).collect::<ort::Result<Vec<_>>>();
    let values = values.map_err(|error| error.to_string())?;
    let given: Vec<(String, SessionInputValue<'_>)> = names.into_iter().zip(values).collect();
    let outputs = session.run(given).map_err(|error| error.to_string())?;
    Ok(outputs.into_iter().map(|(_, value)| Array::of(&value)).collect())
}

/// Sizes of all dimensions except the rows, by input. With `others`, open dimensions get other sizes
/// than the graph was generated with.
pub(crate) fn sides(generator: &mut Generator, others: bool) -> Vec<Vec<usize>> {
    let inputs = generator.inputs.clone();
    let named = [(); 6].map(|()| if others { generator.side() } else { 0 });
    let size = |generator: &mut Generator, side: &Side, size: usize| match side {
        Side::Named(_) if others => named[size.min(5)],
        Side::Open if others => generator.side(),
        _ => size,
    };
    let all = inputs.iter().map(|input| {
        let sides = input.sides[1..].iter().zip(&input.rest);
        sides.map(|(side, rest)| size(generator, side, *rest)).collect()
    });
    all.collect()
}

/// Makes a row of each input.
pub(crate) fn row(generator: &mut Generator, sides: &[Vec<usize>], extreme: bool) -> Vec<Array> {
    let inputs: Vec<Input> = generator.inputs.clone();
    let magnitude = generator.pick(&[0.0625_f32, 1.0, 1.0, 1.0, 64.0]);
    let of = |(input, rest): (&Input, &Vec<usize>)| {
        let dims = [vec![1], rest.clone()].concat();
        let count = dims.iter().product();
        let data = elements(generator, input.element, count, magnitude, extreme);
        Array { dims, data }
    };
    inputs.iter().zip(sides).map(of).collect()
}

fn elements(
    generator: &mut Generator,
    element: ElementType,
    count: usize,
    magnitude: f32,
    extreme: bool,
) -> Data {
    let mut all = std::iter::repeat_with(|| generator.below(1 << 20)).take(count);
    let small = |number: usize| number as i64 % 9 - 2;
    match element {
        ElementType::Float32 => {
            let float = |number: usize| match number % 24 {
                0 if extreme => f32::NAN,
                1 if extreme => f32::INFINITY,
                2 if extreme => -1e30,
                3 if extreme => 1e-30,
                _ => (number / 24 % 25) as f32 / 2.0 - 6.0,
            };
            Data::F32(all.map(|number| float(number) * magnitude).collect())
        }
        ElementType::Int64 => Data::I64(all.by_ref().map(small).collect()),
        ElementType::Int32 => Data::I32(all.map(|number| small(number) as i32).collect()),
        ElementType::UInt8 => Data::U8(all.map(|number| number as u8).collect()),
        ElementType::Int8 => Data::I8(all.map(|number| number as i8).collect()),
        ElementType::Bool => Data::Bool(all.map(|number| number % 2 == 1).collect()),
        ElementType::String => {
            let words = ["a", "b", "c", "A", "a,b", "", "zz"];
            Data::Text(all.map(|number| words[number % words.len()].to_owned()).collect())
        }
        other => panic!("inputs of {other} are not made"),
    }
}

/// Makes a session of the model. The error is in words.
pub(crate) fn session(model: &Model, level: GraphOptimizationLevel) -> Result<Session, String> {
    let bytes = model.to_bytes().unwrap();
    let builder = Session::builder(&crate::environment()).unwrap();
    let builder = builder.with_optimization_level(level).unwrap().with_intra_threads(1).unwrap();
    let mut builder = builder.with_independent_thread_pool().unwrap();
    builder.commit_from_memory(&bytes).map_err(|error| error.to_string())
}
