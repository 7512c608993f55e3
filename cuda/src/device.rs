//! A GPU and its memory.

use crate::{CudaError, libraries};
use cudarc::driver::{
    CudaContext, CudaSlice, CudaStream, DeviceRepr, DriverError, ValidAsZeroBits,
};
use cudarc::nccl::NcclType;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Pause between two checks of a pending operation.
const PAUSE: Duration = Duration::from_micros(20);

/// Element type of buffers.
pub trait Element: DeviceRepr + ValidAsZeroBits + NcclType + Copy {}

impl Element for f32 {}
impl Element for u8 {}

/// Handle of a GPU. Clones share it; operations run in order.
#[derive(Debug, Clone)]
pub struct Device {
    stream: Arc<CudaStream>,
}

/// Memory on a GPU.
#[derive(Debug)]
pub struct Buffer<T> {
    pub(crate) slice: CudaSlice<T>,
}

impl<T> Buffer<T> {
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.slice.len()
    }

    /// True if the buffer has no elements.
    pub fn is_empty(&self) -> bool {
        self.slice.is_empty()
    }
}

/// Converts an error of the driver.
pub(crate) fn driver_error(operation: &'static str) -> impl Fn(DriverError) -> CudaError {
    move |error| {
        let problem = error
            .error_string()
            .map_or_else(|_| format!("{:?}", error.0), |text| text.to_string_lossy().into_owned());
        CudaError::Driver { operation, problem }
    }
}

impl Device {
    /// Number of GPUs of this machine.
    ///
    /// # Errors
    /// `NoDriver` if there is no driver; `Driver` if it does not respond.
    pub fn count() -> Result<usize, CudaError> {
        libraries::driver()?;
        let count = CudaContext::device_count().map_err(driver_error("counting GPUs"))?;
        Ok(usize::try_from(count).unwrap_or(0))
    }

    /// Opens the GPU of this index, from 0.
    ///
    /// # Errors
    /// `NoDriver`, `NoDevice`, or `Driver` when it can not be used.
    pub fn open(index: usize) -> Result<Self, CudaError> {
        let count = Self::count()?;
        if index >= count {
            return Err(CudaError::NoDevice { index, count });
        }
        let context = CudaContext::new(index).map_err(driver_error("opening a GPU"))?;
        let stream = context.new_stream().map_err(driver_error("opening a GPU"))?;
        Ok(Self { stream })
    }

    /// Allocates a buffer of `len` zeros.
    ///
    /// # Errors
    /// `Driver`, such as when its memory is full.
    pub fn zeros<T: Element>(&self, len: usize) -> Result<Buffer<T>, CudaError> {
        let slice = self.stream.alloc_zeros(len).map_err(driver_error("taking memory"))?;
        Ok(Buffer { slice })
    }

    /// Copies values to the GPU, into a buffer of the same length.
    ///
    /// # Errors
    /// `Length`, or `Driver`.
    pub fn upload<T: Element>(
        &self,
        values: &[T],
        buffer: &mut Buffer<T>,
    ) -> Result<(), CudaError> {
        const OPERATION: &str = "copying to the GPU";
        same_length(OPERATION, buffer.len(), values.len())?;
        self.stream.memcpy_htod(values, &mut buffer.slice).map_err(driver_error(OPERATION))
    }

    /// Copies a buffer's values back, into a slice of the same length.
    ///
    /// # Errors
    /// `Length`, or `Driver`.
    pub fn download<T: Element>(
        &self,
        buffer: &Buffer<T>,
        values: &mut [T],
    ) -> Result<(), CudaError> {
        const OPERATION: &str = "copying from the GPU";
        same_length(OPERATION, values.len(), buffer.len())?;
        self.stream.memcpy_dtoh(&buffer.slice, values).map_err(driver_error(OPERATION))?;
        self.stream.synchronize().map_err(driver_error(OPERATION))
    }

    pub(crate) fn stream(&self) -> &Arc<CudaStream> {
        &self.stream
    }

    /// Waits for all pending operations; false if the deadline passes first.
    pub(crate) fn is_done_within(&self, deadline: Duration) -> Result<bool, CudaError> {
        let failed = driver_error("waiting for the GPU");
        let (event, started) = (self.stream.record_event(None).map_err(&failed)?, Instant::now());
        while !event.try_is_complete().map_err(&failed)? {
            if started.elapsed() >= deadline {
                return Ok(false);
            }
            std::thread::park_timeout(PAUSE);
        }
        Ok(true)
    }
}

/// Fails if two lengths differ.
pub(crate) fn same_length(
    operation: &'static str,
    found: usize,
    wanted: usize,
) -> Result<(), CudaError> {
    if found == wanted { Ok(()) } else { Err(CudaError::Length { operation, found, wanted }) }
}
