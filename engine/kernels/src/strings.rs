//! Tensors of strings of any bytes. ONNX Runtime holds them, and its bindings take and give texts
//! without NUL only.

use ort::memory::Allocator;
use ort::value::{DynTensor, TensorElementType};
use ort::{AsPointer, ortsys};
use std::ptr;

/// Makes a tensor of strings of this shape. The runtime takes 32 bytes for each, and more for long
/// ones; nothing else is allocated.
///
/// # Errors
/// When shape and elements do not fit each other, or the runtime fails.
pub fn string_tensor<'a>(
    shape: &[usize],
    elements: impl Iterator<Item = &'a [u8]>,
) -> ort::Result<DynTensor> {
    let allocator = Allocator::default();
    let dims: Vec<i64> = shape.iter().map(|&dim| dim as i64).collect();
    let mut tensor = DynTensor::new(&allocator, TensorElementType::String, dims)?;
    for (index, element) in elements.enumerate().filter(|(_, element)| !element.is_empty()) {
        let mut buffer = ptr::null_mut();
        // SAFETY: the tensor is one of strings. The runtime refuses an index beyond its end.
        ortsys![unsafe GetResizedStringTensorElementBuffer(
            tensor.ptr_mut(),
            index,
            element.len(),
            &mut buffer
        )?];
        // SAFETY: the runtime has made the buffer as long as the element, for this string alone.
        unsafe { ptr::copy_nonoverlapping(element.as_ptr(), buffer.cast(), element.len()) };
    }
    Ok(tensor)
}

/// Copies of all strings of a tensor, one after the other.
#[derive(Debug)]
pub struct Strings {
    content: Vec<u8>,
    starts: Vec<usize>,
}

impl Strings {
    /// Copies the strings of a tensor.
    ///
    /// # Errors
    /// When the tensor holds no strings, or the runtime fails.
    pub fn of(tensor: &DynTensor) -> ort::Result<Self> {
        if *tensor.data_type() != TensorElementType::String {
            return Err(ort::Error::new("the tensor holds no strings"));
        }
        let count = tensor.shape().num_elements();
        let mut bytes = 0;
        // SAFETY: the tensor is one of strings.
        ortsys![unsafe GetStringTensorDataLength(tensor.ptr(), &mut bytes)?];
        let (mut content, mut starts) = (vec![0_u8; bytes], vec![0_usize; count]);
        // SAFETY: the buffers are as long as the runtime is told, and as it demands.
        ortsys![unsafe GetStringTensorContent(
            tensor.ptr(),
            content.as_mut_ptr().cast(),
            content.len(),
            starts.as_mut_ptr(),
            starts.len()
        )?];
        Ok(Self { content, starts })
    }

    /// Number of strings.
    pub fn count(&self) -> usize {
        self.starts.len()
    }

    /// Bytes of all strings together.
    pub fn bytes(&self) -> usize {
        self.content.len()
    }

    /// The strings, in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let ends = self.starts.iter().skip(1).copied().chain([self.content.len()]);
        let range = |(start, end): (&usize, usize)| self.content.get(*start..end);
        self.starts.iter().zip(ends).map(move |bounds| range(bounds).unwrap_or_default())
    }
}
