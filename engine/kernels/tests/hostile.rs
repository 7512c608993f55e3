//! Hostile arguments: kernels compute or return an error, without panics or access outside of a
//! slice.

#![expect(clippy::unwrap_used, reason = "a test panics")]

mod support;

use skysail_kernels::{
    ConvInput, Convolution, Finish, Formats, Images, Int8Matrix, KernelError, Scratch, Serial,
    SparseConv, SparseMatrix, SparseWeights,
};
use support::levels;

const FORMATS: [Formats; 3] = [Formats::Few, Formats::Many, Formats::Both];

/// A matrix with every third weight, each of value 1.
fn weights(outputs: usize, inputs: usize) -> SparseWeights {
    let places = (0..outputs * inputs).step_by(3);
    let entries = places.map(|at| ((at / inputs) as u32, (at % inputs) as u32, 1.0));
    SparseWeights::plain(outputs, inputs, entries).unwrap()
}

fn multiply(matrix: &SparseMatrix, x: &[f32], y: &mut [f32], finish: Finish<'_>) -> String {
    let result = matrix.multiply(x, y, finish, &mut Scratch::default(), &Serial);
    result.err().map_or("ok".into(), |error| error.to_string())
}

#[test]
fn products_reject_slices_of_wrong_lengths() {
    for (formats, level) in FORMATS.into_iter().flat_map(|f| levels().map(move |l| (f, l))) {
        let matrix = SparseMatrix::at_level(&weights(40, 7), formats, level);
        let run = |x: usize, y: usize, bias: usize| {
            let bias = vec![0.0; bias];
            let finish = Finish { bias: Some(&bias), ..Finish::default() };
            multiply(&matrix, &vec![1.0; x], &mut vec![0.0; y], finish)
        };
        assert_eq!(run(14, 80, 40), "ok");
        assert_eq!(run(0, 0, 40), "ok", "a batch of no rows");
        assert_eq!(run(8, 40, 40), "the input has 8 values; a multiple of 7 are needed");
        assert_eq!(run(7, 80, 40), "the output has 80 values; 40 are needed");
        assert_eq!(run(0, 40, 40), "the output has 40 values; 0 are needed");
        assert_eq!(run(7, 40, 41), "the bias has 41 values; 40 are needed");
    }
}

#[test]
fn a_matrix_without_weights_results_in_its_bias() {
    let none = SparseWeights::plain(70, 33, std::iter::empty()).unwrap();
    let bias: Vec<f32> = (0..70).map(|i| i as f32).collect();
    let finish = Finish { bias: Some(&bias), ..Finish::default() };
    for (formats, level) in FORMATS.into_iter().flat_map(|f| levels().map(move |l| (f, l))) {
        let matrix = SparseMatrix::at_level(&none, formats, level);
        // Not even not-a-number reaches an output without a weight for it.
        let mut y = [f32::NAN; 140];
        assert_eq!(multiply(&matrix, &[f32::INFINITY; 66], &mut y, finish), "ok");
        assert_eq!(y[..70], bias);
        assert_eq!(y[70..], bias);
    }
}

#[test]
fn a_matrix_without_inputs_is_rejected_so_no_product_stays_unwritten() {
    let sparse = SparseWeights::plain(3, 0, std::iter::empty()).err();
    assert!(matches!(sparse, Some(KernelError::Size { value: 0, .. })), "{sparse:?}");
    let int8 = Int8Matrix::new(&[], 0, 3, &[1.0; 3]).err();
    assert!(matches!(int8, Some(KernelError::Size { value: 0, .. })), "{int8:?}");
    // Every number is written where all weights are zero.
    let int8 = Int8Matrix::new(&[0; 6], 2, 3, &[1.0; 3]).unwrap();
    let finish = Finish { bias: Some(&[1.0, 2.0, 3.0]), ..Finish::default() };
    let mut y = [f32::NAN; 6];
    int8.multiply(&[5.0; 4], &mut y, finish, &mut Scratch::default(), &Serial).unwrap();
    assert_eq!(y, [1.0, 2.0, 3.0, 1.0, 2.0, 3.0]);
}

#[test]
fn a_smaller_run_does_not_read_memory_of_a_larger_one() {
    for (formats, level) in FORMATS.into_iter().flat_map(|f| levels().map(move |l| (f, l))) {
        let mut scratch = Scratch::default();
        for (outputs, inputs, rows) in [(270, 300, 40), (33, 20, 1), (64, 31, 17), (5, 1, 2)] {
            let matrix = SparseMatrix::at_level(&weights(outputs, inputs), formats, level);
            // Not-a-numbers are left behind.
            let (x, mut y) = (vec![f32::NAN; rows * inputs], vec![0.0; rows * outputs]);
            let mut run = |x: &[f32], y: &mut [f32]| {
                matrix.multiply(x, y, Finish::default(), &mut scratch, &Serial).unwrap();
            };
            run(&x, &mut y);
            run(&vec![1.0; rows * inputs], &mut y);
            for (at, y) in y.iter().enumerate() {
                let row = at % outputs * inputs;
                let count = (row..row + inputs).filter(|at| at.is_multiple_of(3)).count();
                assert_eq!(*y, count as f32, "{level} {formats:?} {outputs}x{inputs}");
            }
        }
    }
}

const PLAIN: Convolution = Convolution {
    channels: 2,
    groups: 1,
    kernel: [3, 3],
    strides: [1, 1],
    dilations: [1, 1],
    pads: [1, 1, 1, 1],
};

const IMAGES: Images = Images { count: 1, height: 5, width: 5 };

fn convolve(conv: &SparseConv, images: Images, x: usize, y: usize) -> Result<(), KernelError> {
    let (x, mut y) = (vec![1.0; x], vec![0.0; y]);
    let input = ConvInput { x: &x, images, residual: None };
    conv.convolve(input, &mut y, Finish::default(), &mut Scratch::default(), &Serial)
}

#[test]
fn impossible_convolutions_are_rejected() {
    let huge = usize::MAX;
    for convolution in [
        Convolution { channels: 0, ..PLAIN },
        Convolution { channels: huge, ..PLAIN },
        Convolution { channels: 4, ..PLAIN },
        Convolution { groups: 0, ..PLAIN },
        Convolution { groups: 3, ..PLAIN },
        Convolution { kernel: [0, 3], ..PLAIN },
        Convolution { kernel: [huge, 3], ..PLAIN },
        Convolution { kernel: [1, 9], strides: [0, 1], ..PLAIN },
        Convolution { strides: [1, 1 << 25], ..PLAIN },
        Convolution { strides: [huge, 1], ..PLAIN },
        Convolution { dilations: [1, 0], ..PLAIN },
        Convolution { dilations: [huge, 1], ..PLAIN },
        Convolution { pads: [0, huge, 0, 0], ..PLAIN },
    ] {
        assert!(SparseConv::new(&weights(4, 18), convolution).is_err(), "{convolution:?}");
        // The size of its output does not panic either.
        let _ = convolution.output(Images { count: huge, height: huge, width: huge });
        let _ = convolution.output(IMAGES);
    }
    // A group for each of very many channels would be a matrix of their square.
    let convolution = Convolution { channels: 1 << 17, groups: 1 << 17, ..PLAIN };
    assert!(SparseConv::new(&weights(1 << 17, 9), convolution).is_err());
}

#[test]
fn convolutions_reject_images_and_slices_that_do_not_fit() {
    for level in levels() {
        let conv = SparseConv::at_level(&weights(4, 18), PLAIN, level).unwrap();
        let run = |images, x, y| convolve(&conv, images, x, y);
        assert!(run(IMAGES, 50, 100).is_ok());
        assert!(run(Images { count: 0, ..IMAGES }, 0, 0).is_ok(), "no images");
        assert!(run(IMAGES, 49, 100).is_err());
        assert!(run(IMAGES, 50, 101).is_err());
        for (height, width) in [(0, 5), (5, 0), (0, 0), (usize::MAX, 1), (1, usize::MAX)] {
            assert!(run(Images { height, width, ..IMAGES }, 0, 0).is_err(), "{height}x{width}");
        }
        assert!(run(Images { count: usize::MAX, ..IMAGES }, 50, 100).is_err());
        let finish = Finish { bias: Some(&[0.0; 3]), ..Finish::default() };
        let (x, mut y, mut scratch) = ([1.0; 50], [0.0; 100], Scratch::default());
        let input = ConvInput { x: &x, images: IMAGES, residual: None };
        assert!(conv.convolve(input, &mut y, finish, &mut scratch, &Serial).is_err());
        let input = ConvInput { residual: Some(&[0.0; 99]), ..input };
        assert!(conv.convolve(input, &mut y, Finish::default(), &mut scratch, &Serial).is_err());
    }
}

#[test]
fn strides_longer_than_the_image_read_nothing_beyond_it() {
    for level in levels() {
        let strides = [1, 1 << 24];
        let convolution = Convolution { kernel: [1, 1], pads: [0; 4], strides, ..PLAIN };
        let conv = SparseConv::at_level(&weights(3, 2), convolution, level).unwrap();
        // A column of sixteen pixels, each a row of the output.
        let images = Images { count: 1, height: 16, width: 1 };
        let x: Vec<f32> = (0..32).map(|i| i as f32).collect();
        let (mut y, mut scratch) = ([f32::NAN; 48], Scratch::default());
        let input = ConvInput { x: &x, images, residual: None };
        conv.convolve(input, &mut y, Finish::default(), &mut scratch, &Serial).unwrap();
        // The weights are (0, 0) and (1, 1).
        assert_eq!(y[..32], x, "{level}");
        assert_eq!(y[32..], [0.0; 16]);
    }
}

#[test]
fn pads_that_need_too_many_lines_are_rejected() {
    let convolution =
        Convolution { channels: 512, kernel: [1, 1], pads: [0, 1 << 28, 0, 1 << 28], ..PLAIN };
    let conv = SparseConv::new(&weights(1, 512), convolution).unwrap();
    let images = Images { count: 1, height: 1, width: 1 };
    let error = convolve(&conv, images, 512, 0).unwrap_err().to_string();
    assert!(error.contains("too large"), "{error}");
}
