//! Run-time curves of seven real models, for scenarios that are like what serves.

use super::machine::{Cost, Hiccups, Machine, Noise};
use crate::batch::Limits;

/// A model's run times and the latency objective that suits it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReferenceModel {
    /// Name of the model.
    pub name: &'static str,
    /// Points of the curve: rows of a batch, and its run time in microseconds.
    pub curve: &'static [(usize, f64)],
    /// Latency objective, in microseconds: 20 ms, or eight runs of one row.
    pub objective_us: f64,
}

/// Rows of the largest batch of every reference model.
const ROWS_MAX: usize = 256;

/// Least times of ONNX Runtime 1.31 on one thread of a server CPU, in CPU time of that thread.
pub const REFERENCE_MODELS: [ReferenceModel; 7] = [
    ReferenceModel {
        name: "linear SVM",
        curve: &[
            (1, 4.9),
            (2, 6.1),
            (4, 6.2),
            (8, 7.0),
            (16, 7.6),
            (32, 9.6),
            (64, 12.9),
            (128, 20.4),
            (256, 35.3),
        ],
        objective_us: 20_000.0,
    },
    ReferenceModel {
        name: "RBF SVM",
        curve: &[
            (1, 92.7),
            (2, 115.9),
            (4, 153.5),
            (8, 231.7),
            (16, 390.1),
            (32, 703.0),
            (64, 1_321.3),
            (128, 2_631.0),
            (256, 5_298.4),
        ],
        objective_us: 20_000.0,
    },
    ReferenceModel {
        name: "random forest",
        curve: &[
            (1, 5.3),
            (2, 6.1),
            (4, 7.2),
            (8, 9.4),
            (16, 13.7),
            (32, 22.6),
            (64, 42.2),
            (128, 85.1),
            (256, 210.0),
        ],
        objective_us: 20_000.0,
    },
    ReferenceModel {
        name: "small CNN",
        curve: &[
            (1, 21.7),
            (2, 37.7),
            (4, 68.6),
            (8, 133.5),
            (16, 263.6),
            (32, 529.1),
            (64, 1_066.9),
            (128, 2_191.6),
            (256, 4_868.7),
        ],
        objective_us: 20_000.0,
    },
    ReferenceModel {
        name: "ResNet-20",
        curve: &[
            (1, 407.7),
            (2, 795.1),
            (4, 1_604.3),
            (8, 3_282.2),
            (16, 6_673.2),
            (32, 13_292.8),
            (64, 27_393.0),
            (128, 60_781.7),
            (256, 133_714.6),
        ],
        objective_us: 20_000.0,
    },
    ReferenceModel {
        name: "MiniLM",
        curve: &[
            (1, 4_030.9),
            (2, 5_846.5),
            (4, 8_802.3),
            (8, 15_623.0),
            (16, 29_387.2),
            (32, 56_111.8),
            (64, 121_399.9),
            (128, 244_218.1),
        ],
        objective_us: 32_000.0,
    },
    ReferenceModel {
        name: "wide MLP",
        curve: &[
            (1, 2_981.3),
            (2, 3_641.2),
            (4, 4_404.0),
            (8, 6_333.7),
            (16, 8_892.4),
            (32, 12_770.9),
            (64, 18_601.5),
            (128, 32_501.4),
            (256, 58_921.8),
        ],
        objective_us: 20_000.0,
    },
];

impl ReferenceModel {
    /// Returns a machine that runs the model. Runs vary by a tenth, and three in a thousand take
    /// three times as long.
    pub fn machine(&self) -> Machine {
        Machine {
            cost: Cost::Curve(self.curve.to_vec()),
            noise: Noise::Gamma { shape: 100.0 },
            hiccups: Some(Hiccups { share: 0.003, times: 3.0 }),
            ..Machine::line(0.0, 0.0)
        }
    }

    /// Returns limits of one replica.
    pub fn limits(&self) -> Limits {
        Limits { rows_max: ROWS_MAX, objective_us: Some(self.objective_us), replicas: 1 }
    }

    /// Returns the requests of one row that the machine can answer in a second, within the
    /// objective.
    pub fn capacity_per_s(&self) -> f64 {
        let run_us_max = self.limits().run_us_max().unwrap_or(f64::INFINITY);
        let machine = self.machine();
        let hiccup = machine.hiccups.map_or(0.0, |hiccups| hiccups.share * (hiccups.times - 1.0));
        machine.rows_per_s(ROWS_MAX, run_us_max) / (1.0 + hiccup)
    }
}
