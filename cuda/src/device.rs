//! A GPU, and memory on it.

use crate::{CudaError, libraries};
use cudarc::driver::{
    CudaContext, CudaSlice, CudaStream, DeviceRepr, DriverError, ValidAsZeroBits,
};
use cudarc::nccl::NcclType;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long is waited before the GPU is asked again whether it is done.
const PAUSE: Duration = Duration::from_micros(20);

/// What buffers are made of.
pub trait Element: DeviceRepr + ValidAsZeroBits + NcclType + Copy {}

impl Element for f32 {}
impl Element for u8 {}

/// A GPU. Clones are the same one; what they are asked is done in order.
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
    /// How many elements it has.
    pub fn len(&self) -> usize {
        self.slice.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.slice.is_empty()
    }
}

/// What the driver said to an operation.
pub(crate) fn refused(operation: &'static str) -> impl Fn(DriverError) -> CudaError {
    move |error| {
        let problem = error
            .error_string()
            .map_or_else(|_| format!("{:?}", error.0), |text| text.to_string_lossy().into_owned());
        CudaError::Driver { operation, problem }
    }
}

impl Device {
    /// How many GPUs this machine has.
    ///
    /// # Errors
    /// `NoDriver` where there is no driver; `Driver` where it does not answer.
    pub fn count() -> Result<usize, CudaError> {
        libraries::driver()?;
        let count = CudaContext::device_count().map_err(refused("counting GPUs"))?;
        Ok(usize::try_from(count).unwrap_or(0))
    }

    /// The GPU of this index, from 0.
    ///
    /// # Errors
    /// `NoDriver`, `NoDevice`, or `Driver` when it can not be used.
    pub fn open(index: usize) -> Result<Self, CudaError> {
        let count = Self::count()?;
        if index >= count {
            return Err(CudaError::NoDevice { index, count });
        }
        let context = CudaContext::new(index).map_err(refused("opening a GPU"))?;
        let stream = context.new_stream().map_err(refused("opening a GPU"))?;
        Ok(Self { stream })
    }

    /// A buffer of so many zeros.
    ///
    /// # Errors
    /// `Driver`, such as when its memory is full.
    pub fn zeros<T: Element>(&self, len: usize) -> Result<Buffer<T>, CudaError> {
        let slice = self.stream.alloc_zeros(len).map_err(refused("taking memory"))?;
        Ok(Buffer { slice })
    }

    /// Copies values to the GPU, into a buffer of as many.
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
        self.stream.memcpy_htod(values, &mut buffer.slice).map_err(refused(OPERATION))
    }

    /// Copies a buffer's values back, into as many.
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
        self.stream.memcpy_dtoh(&buffer.slice, values).map_err(refused(OPERATION))?;
        self.stream.synchronize().map_err(refused(OPERATION))
    }

    pub(crate) fn stream(&self) -> &Arc<CudaStream> {
        &self.stream
    }

    /// Waits until all that was asked is done; tells whether that was in time.
    pub(crate) fn is_done_within(&self, deadline: Duration) -> Result<bool, CudaError> {
        let failed = refused("waiting for the GPU");
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

/// Fails where two lengths differ.
pub(crate) fn same_length(
    operation: &'static str,
    found: usize,
    wanted: usize,
) -> Result<(), CudaError> {
    if found == wanted { Ok(()) } else { Err(CudaError::Length { operation, found, wanted }) }
}
