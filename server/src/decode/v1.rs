//! Decodes requests of the V1 protocol: instances, or inputs as whole tensors.
//!
//! Datatypes are the model's. Shapes follow from the nesting of lists.

use super::Decoded;
use super::elements::{self, B64, Nesting};
use super::fault::Fault;
use super::json::text;
use super::reader::{Kind, Reader};
use crate::status::Error;
use shape::{Inner, NestedShape};
use skysail_engine::request::InputTensor;
use skysail_engine::signature::{Signature, TensorSpec};
use skysail_engine::tensor::Shape;

mod shape;

/// Instances of a request, which its predictions are to match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Instances {
    /// One for each entry of the first dimension.
    Rows(usize),
    /// One, of a model whose first dimension is not one of rows.
    One,
}

impl Default for Instances {
    fn default() -> Self {
        Self::Rows(0)
    }
}

/// Decodes a body.
///
/// # Errors
/// When it is not a valid request for a model of this signature.
pub(crate) fn decode(body: &[u8], signature: &Signature) -> Result<Decoded, Error> {
    let mut reader = Reader::new(text(body)?);
    if reader.kind() != Kind::Object {
        return Err(reader.wrong("the body", "an object with 'instances'").into());
    }
    let mut columns = Columns::new(signature);
    let mut found = None;
    reader.object(|reader, key| {
        let field = match key.as_ref() {
            "instances" => "instances",
            "inputs" => "inputs",
            _ => return reader.skip().map(drop),
        };
        if reader.null()? {
            return Ok(());
        }
        if found.replace(field).is_some() {
            return Err(Fault::value("the body must have 'instances' or 'inputs', and once only"));
        }
        match field {
            "instances" => columns.read_instances(reader),
            _ => columns.read_inputs(reader),
        }
    })?;
    reader.end()?;
    if found.is_none() {
        return Err(Error::malformed("the body has neither 'instances' nor 'inputs'"));
    }
    columns.decoded(found == Some("instances")).map_err(Error::from)
}

/// The tensors of a request, as far as they are read.
struct Columns<'m> {
    signature: &'m Signature,
    /// One for each input of the model, the optional ones last.
    columns: Vec<Column<'m>>,
}

/// The elements of one input.
struct Column<'m> {
    spec: &'m TensorSpec,
    data: Vec<u8>,
    shape: NestedShape,
}

impl<'m> Columns<'m> {
    fn new(signature: &'m Signature) -> Self {
        let specs = signature.inputs.iter().chain(&signature.optional_inputs);
        let column = |spec| Column { spec, data: Vec::new(), shape: NestedShape::default() };
        Self { signature, columns: specs.map(column).collect() }
    }

    /// Reads a list of instances: each is a value of the only input, or an object of values by name.
    fn read_instances(&mut self, reader: &mut Reader<'_>) -> Result<(), Fault> {
        if reader.kind() != Kind::List {
            return Err(reader.wrong("'instances'", "a list"));
        }
        let mut first = reader.clone();
        first.eat(b'[');
        if !is_named(&mut first) {
            return self.read_only(reader, "instances");
        }
        let mut count = 0;
        reader.list(|reader| {
            self.read_instance(reader, count)
                .map_err(|fault| fault.of(format!("instances[{count}]")))?;
            count += 1;
            Ok(())
        })?;
        self.given().try_for_each(|column| column.shape.close(0))
    }

    /// Reads an object of values by name, the row `index` of their inputs.
    fn read_instance(&mut self, reader: &mut Reader<'_>, index: usize) -> Result<(), Fault> {
        if reader.kind() != Kind::Object {
            return Err(reader.wrong("it", "an object, as the first one is"));
        }
        reader.object(|reader, name| {
            let column = self.named(name)?;
            if index == 0 && !column.shape.is_given() {
                column.shape.open(0)?;
            }
            if column.shape.rows() != Some(index) {
                return Err(match column.shape.rows() {
                    Some(rows) if rows > index => {
                        Fault::value(format!("'{name}' stands there twice"))
                    }
                    _ => Fault::value(format!("'{name}' is not in the instances before")),
                });
            }
            let inner = &mut Inner(&mut column.shape);
            let read = elements::read(reader, column.spec.datatype, &mut column.data, inner);
            read.map(drop).map_err(|fault| fault.of(format!("'{name}'")))
        })?;
        match self.given().find(|column| column.shape.rows() != Some(index + 1)) {
            None => Ok(()),
            Some(column) => Err(Fault::value(format!("it has no '{}'", column.spec.name))),
        }
    }

    /// Reads whole tensors: an object of them by name, or the only input's.
    fn read_inputs(&mut self, reader: &mut Reader<'_>) -> Result<(), Fault> {
        if !is_named(&mut reader.clone()) {
            return self.read_only(reader, "inputs");
        }
        reader.object(|reader, name| {
            let column = self.named(name)?;
            if column.shape.is_given() {
                return Err(Fault::value(format!("'{name}' stands in 'inputs' twice")));
            }
            column.read(reader).map_err(|fault| fault.of(format!("input '{name}'")))
        })
    }

    /// Reads the whole tensor of the only input.
    fn read_only(&mut self, reader: &mut Reader<'_>, field: &str) -> Result<(), Fault> {
        if self.signature.inputs.len() != 1 {
            let names = self.names();
            let wanted = format!("objects by name, as the model has the inputs {names}");
            return Err(reader.wrong(&format!("'{field}'"), &wanted));
        }
        self.columns[0].read(reader).map_err(|fault| fault.of(format!("'{field}'")))
    }

    fn named(&mut self, name: &str) -> Result<&mut Column<'m>, Fault> {
        let index = self.columns.iter().position(|column| &*column.spec.name == name);
        match index {
            Some(index) => Ok(&mut self.columns[index]),
            None => {
                let (name, names) = (name.escape_debug(), self.names());
                Err(Fault::value(format!(
                    "the model has no input '{name}'; its inputs are {names}"
                )))
            }
        }
    }

    fn names(&self) -> String {
        let names = self.columns.iter().map(|column| format!("'{}'", column.spec.name));
        names.collect::<Vec<_>>().join(", ")
    }

    /// Columns of inputs that the request has.
    fn given(&mut self) -> impl Iterator<Item = &mut Column<'m>> {
        self.columns.iter_mut().filter(|column| column.shape.is_given())
    }

    fn decoded(self, are_instances: bool) -> Result<Decoded, Fault> {
        let mut decoded = Decoded::default();
        let mut instances = None;
        let given = self.columns.into_iter().filter(|column| column.shape.is_given());
        for Column { spec, data, shape } in given {
            let (mut shape, name) = (shape.shape(), spec.name.to_string());
            let rows = shape.first().copied().unwrap_or(1);
            let is_one = fit_rank(&mut shape, spec, are_instances);
            // Every input has the same instances; the engine checks that.
            instances.get_or_insert(if is_one { Instances::One } else { Instances::Rows(rows) });
            let (datatype, data) = (spec.datatype, data.into());
            decoded.request.inputs.push(InputTensor { name, datatype, shape, data });
        }
        decoded.instances = instances.unwrap_or(Instances::Rows(0));
        Ok(decoded)
    }
}

impl Column<'_> {
    fn read(&mut self, reader: &mut Reader<'_>) -> Result<(), Fault> {
        elements::read(reader, self.spec.datatype, &mut self.data, &mut self.shape).map(drop)
    }
}

/// True if the value is an object of values by name, and not one with base64.
fn is_named(value: &mut Reader<'_>) -> bool {
    let mut is_base64 = false;
    value.kind() == Kind::Object
        && (value.object(|reader, key| {
            is_base64 |= key == B64;
            reader.skip().map(drop)
        }))
        .is_ok_and(|()| !is_base64)
}

/// Adds or removes a dimension of 1 where a row of the model has another number of dimensions. Returns
/// true if the only instance became the whole tensor.
fn fit_rank(shape: &mut Shape, spec: &TensorSpec, are_instances: bool) -> bool {
    if spec.any_rank && spec.reshape.is_none() {
        return false;
    }
    let (rank, last) = (spec.wire_dims().count(), spec.wire_dims().last());
    if shape.len() + 1 == rank && last == Some(1) {
        shape.push(1);
    }
    let is_one = are_instances && shape.len() == rank + 1 && shape.first() == Some(&1);
    if is_one {
        shape.remove(0);
    }
    is_one
}

#[cfg(test)]
mod tests;
