//! Scratch.
use skysail_kernels::*;
use std::time::*;
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let (outputs, inputs, density, batch): (usize, usize, f64, usize) = (
        a[1].parse().unwrap(),
        a[2].parse().unwrap(),
        a[3].parse().unwrap(),
        a[4].parse().unwrap(),
    );
    let secs: f64 = a[5].parse().unwrap();
    let mut s = 0x1234_5678_9abc_def1_u64;
    let mut unit = || {
        s ^= s << 13;
        s ^= s >> 7;
        s ^= s << 17;
        (s >> 11) as f64 / (1_u64 << 53) as f64
    };
    let mut e = Vec::new();
    for o in 0..outputs as u32 {
        for i in 0..inputs as u32 {
            if unit() < density {
                e.push((o, i, (unit() * 32.0) as u16));
            }
        }
    }
    let cb: Vec<f32> = (0..32).map(|i| i as f32 - 15.5).collect();
    let w = SparseWeights::coded(outputs, inputs, &cb, e.iter().copied()).unwrap();
    let m = SparseMatrix::new(
        &w,
        if a.len() > 6 && a[6] == "m" { Formats::Many } else { Formats::Both },
    );
    let x = vec![0.5; batch * inputs];
    let mut y = vec![0.0; batch * outputs];
    let mut sc = Scratch::default();
    let cold = a.len() > 7;
    let mut junk = vec![0u64; if cold { 16 << 20 } else { 0 }];
    let mut best = f64::INFINITY;
    let mut times = vec![];
    let t = Instant::now();
    while t.elapsed().as_secs_f64() < secs {
        if cold {
            for v in junk.iter_mut() {
                *v += 1;
            }
        }
        let t = Instant::now();
        m.multiply(&x, &mut y, Finish::default(), &mut sc, &Serial).unwrap();
        let d = t.elapsed().as_secs_f64();
        best = best.min(d);
        times.push(d);
    }
    times.sort_by(f64::total_cmp);
    println!(
        "{} nnz, median {:.0} us best {:.0} us, {:.3} ns/nnz",
        w.count(),
        times[times.len() / 2] * 1e6,
        best * 1e6,
        best * 1e9 / w.count() as f64
    );
}
