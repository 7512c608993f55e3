//! A session that several threads run at once, each with buffers of its own.
//!
//! ONNX Runtime allows that for `Run`, and its CPU kernels compute without changing themselves. Its
//! bindings lend a session to one run at a time, as other execution providers do not keep to it.

use ort::memory::MemoryInfo;
use ort::session::{IoBinding, RunOptions, Session};
use ort::value::{DynTensor, DynValue};
use ort::{AsPointer, ortsys};
use std::ptr::{self, NonNull};
use std::sync::Arc;

/// Inputs and outputs of a run, bound to a session that others may run too.
pub struct RunBinding {
    session: Arc<Session>,
    binding: IoBinding,
}

impl RunBinding {
    /// Makes a binding without inputs and outputs. The session runs on the CPU, and its graph has
    /// operators of the runtime only if several bindings of it run at once.
    ///
    /// # Errors
    /// When the runtime fails.
    pub fn new(session: &Arc<Session>) -> ort::Result<Self> {
        Ok(Self { session: Arc::clone(session), binding: session.create_binding()? })
    }

    /// Binds a value to an input; see [`IoBinding::bind_input`].
    ///
    /// # Errors
    /// When the session has no such input.
    pub fn bind_input<T>(&mut self, name: &str, value: &ort::value::Value<T>) -> ort::Result<()>
    where
        T: ort::value::ValueTypeMarker + ?Sized,
    {
        self.binding.bind_input(name, value)
    }

    /// Binds a buffer to an output; see [`IoBinding::bind_output`].
    ///
    /// # Errors
    /// When the session has no such output.
    pub fn bind_output(&mut self, name: &str, buffer: &mut DynTensor) -> ort::Result<()> {
        self.binding.bind_output(name, buffer)
    }

    /// Lets the runtime allocate an output; see [`IoBinding::bind_output_to_device`].
    ///
    /// # Errors
    /// When the session has no such output.
    pub fn bind_output_to_device(
        &mut self,
        name: &str,
        memory: &MemoryInfo<'_>,
    ) -> ort::Result<()> {
        self.binding.bind_output_to_device(name, memory)
    }

    /// Runs the session, and hands each output to `each`, in the order in which they were first
    /// bound.
    ///
    /// # Errors
    /// When the run or `each` fails.
    pub fn run(
        &mut self,
        options: &RunOptions,
        mut each: impl FnMut(usize, &DynValue) -> ort::Result<()>,
    ) -> ort::Result<()> {
        let Self { session, binding } = self;
        // SAFETY: the binding is one of this session, and borrowed for this run alone. The runtime
        // takes concurrent runs of a session.
        ortsys![unsafe RunWithBinding(
            session.ptr().cast_mut(),
            options.ptr(),
            AsPointer::ptr(binding)
        )?];
        let (mut values, mut count) = (ptr::null_mut(), 0);
        // SAFETY: the runtime sets both, and allocates the list of values with the allocator.
        ortsys![unsafe GetBoundOutputValues(
            AsPointer::ptr(binding),
            session.allocator().ptr().cast_mut(),
            &mut values,
            &mut count
        )?];
        let mut result = Ok(());
        for index in 0..count {
            // SAFETY: the list has so many values, which are this function's from now on.
            let Some(value) = NonNull::new(unsafe { *values.add(index) }) else { continue };
            // SAFETY: as above. The session, whose memory it may have, outlives the value.
            let value: DynValue = unsafe { DynValue::from_ptr(value, Some(session.allocator())) };
            if result.is_ok() {
                result = each(index, &value);
            }
        }
        if !values.is_null() {
            // SAFETY: the list was allocated by this allocator, and its values are taken.
            unsafe { session.allocator().free(values) };
        }
        result
    }
}
