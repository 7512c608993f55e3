//! Tensors of strings of any bytes. ONNX Runtime holds them, and its bindings take and give texts
//! without NUL only.

use ort::value::{DynTensor, Tensor, TensorElementType};
use ort::{AsPointer, ortsys};
use std::ptr;

/// Makes a tensor of strings, of `count` elements.
///
/// # Errors
/// When shape, count and elements do not fit each other, or the runtime fails.
pub fn string_tensor<'a>(
    shape: &[usize],
    count: usize,
    elements: impl Iterator<Item = &'a [u8]>,
) -> ort::Result<Tensor<String>> {
    let empty = vec![""; count];
    let mut tensor = Tensor::from_string_array((shape.to_vec(), empty.as_slice()))?;
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

/// Hands each string of a tensor to `each`, in order.
///
/// # Errors
/// When the tensor holds no strings, or the runtime fails.
pub fn string_elements(tensor: &DynTensor, mut each: impl FnMut(&[u8])) -> ort::Result<()> {
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
    let ends = starts.iter().skip(1).copied().chain([bytes]);
    for (start, end) in starts.iter().zip(ends) {
        each(content.get(*start..end).unwrap_or_default());
    }
    Ok(())
}
