//! Scratch.
use skysail_kernels::*;
use std::time::*;
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let v: Vec<usize> = a[1..8].iter().map(|x| x.parse().unwrap()).collect();
    let (ch, outputs, side, k, stride, pad, batch) = (v[0], v[1], v[2], v[3], v[4], v[5], v[6]);
    let secs: f64 = a[8].parse().unwrap();
    let mut s = 0x1234_5678_9abc_def1_u64;
    let mut unit = || {
        s ^= s << 13;
        s ^= s >> 7;
        s ^= s << 17;
        (s >> 11) as f64 / (1_u64 << 53) as f64
    };
    let mut e = Vec::new();
    let inputs = ch * k * k;
    for o in 0..outputs as u32 {
        for i in 0..inputs as u32 {
            if unit() < 0.34 {
                e.push((o, i, (unit() * 32.0) as u16));
            }
        }
    }
    let cb: Vec<f32> = (0..32).map(|i| i as f32 - 15.5).collect();
    let w = SparseWeights::coded(outputs, inputs, &cb, e.iter().copied()).unwrap();
    let c = Convolution {
        channels: ch,
        groups: 1,
        kernel: [k; 2],
        strides: [stride; 2],
        dilations: [1; 2],
        pads: [pad; 4],
    };
    let m = SparseConv::new(&w, c).unwrap();
    let images = Images { count: batch, height: side, width: side };
    let x = vec![0.5; batch * ch * side * side];
    let o = c.output(images).unwrap();
    let mut y = vec![0.0; batch * outputs * o.pixels()];
    let mut sc = Scratch::default();
    let mut times = vec![];
    let t = Instant::now();
    while t.elapsed().as_secs_f64() < secs {
        let t = Instant::now();
        let i = ConvInput { x: &x, images, residual: None };
        m.convolve(
            i,
            &mut y,
            Finish { bias: None, activation: Activation::Relu },
            &mut sc,
            &Serial,
        )
        .unwrap();
        times.push(t.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    let fmas = w.count() as f64 * (batch * o.pixels()) as f64 / 16.0;
    println!(
        "{:?} median {:.1} us best {:.1} us, {:.3} cycles/fma, {:.3} per dense",
        &v,
        times[times.len() / 2] * 1e6,
        times[0] * 1e6,
        times[0] * 2.93e9 / fmas,
        times[0] * 2.93e9 / (batch * o.pixels() * outputs * inputs) as f64 * 16.0
    );
}
