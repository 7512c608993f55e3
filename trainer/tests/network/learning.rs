//! Training steps, apart from the gradients of operators.

use crate::differences::{graph, one};
use crate::forward::floats;
use crate::numbers::Numbers;
use skysail_graph::{Attribute, Model, Tensor, lenet_5, mlp};
use skysail_trainer::{Batch, Distillation, EntryKind, Learner, Network, Targets, TrainError};

#[test]
fn gradients_are_emitted_as_they_are_found_and_once_each() {
    let mut network = Network::new(&lenet_5(1).unwrap()).unwrap();
    let parameters = network.parameters();
    let batch = Batch { input: floats(&[2, 1, 28, 28]), targets: Targets::Classes(vec![3, 9]) };
    let mut given = Vec::new();
    let mut whole = vec![0.0; parameters.len()];
    network.gradients(&parameters, &batch, &mut whole).unwrap();
    let layout = network.layout().clone();
    let mut take = |entry: usize, values: &[f32]| {
        given.push(layout.entries()[entry].name.clone());
        assert_eq!(values, &whole[layout.entries()[entry].range.clone()]);
    };
    network.gradients_as_ready(&parameters, &batch, &mut take).unwrap();
    let layers: Vec<&str> = given.iter().map(|name| &name[..name.len() - 4]).collect();
    let index = |layer: &str| layers.iter().position(|name| name.starts_with(layer)).unwrap();
    assert_eq!(given.len(), 8);
    assert!(index("fc2") < index("fc1") && index("fc1") < index("conv2"));
    assert!(index("conv2") < index("conv1"), "{given:?}");
}

#[test]
fn steps_reduce_the_loss() {
    let mut network = Network::new(&mlp(&[8, 16, 3], 1).unwrap()).unwrap();
    let mut parameters = network.parameters();
    let classes = (0..30).map(|row| row % 3).collect();
    let batch = Batch { input: floats(&[30, 8]), targets: Targets::Classes(classes) };
    let mut gradients = vec![0.0; parameters.len()];
    let first = network.gradients(&parameters, &batch, &mut gradients).unwrap();
    let mut last = first;
    for _ in 0..300 {
        last = network.gradients(&parameters, &batch, &mut gradients).unwrap();
        parameters.iter_mut().zip(&gradients).for_each(|(p, g)| *p -= 0.3 * g);
    }
    assert!(last < 0.2 * first, "{first} became {last}");
}

#[test]
fn a_student_follows_its_teacher_without_labels() {
    let (widths, how) = ([8, 16, 3], Distillation { temperature: 2.0, share: 1.0 });
    let teacher = Network::new(&mlp(&widths, 1).unwrap()).unwrap();
    let student = Network::new(&mlp(&widths, 2).unwrap()).unwrap();
    let mut parameters = student.parameters();
    let mut student = student.with_teacher(teacher.clone(), how).unwrap();
    let batch = Batch { input: floats(&[30, 8]), targets: Targets::Classes(vec![0; 30]) };
    let mut gradients = vec![0.0; parameters.len()];
    let first = student.gradients(&parameters, &batch, &mut gradients).unwrap();
    let mut last = first;
    for _ in 0..300 {
        last = student.gradients(&parameters, &batch, &mut gradients).unwrap();
        parameters.iter_mut().zip(&gradients).for_each(|(p, g)| *p -= 0.3 * g);
    }
    assert!(last < 0.2 * first, "{first} became {last}");
    // The teacher's own parameters have no loss.
    let known = student.gradients(&teacher.parameters(), &batch, &mut gradients).unwrap();
    assert!(known.abs() < 1e-6, "{known}");
}

#[test]
fn a_final_softmax_belongs_to_the_loss() {
    let plain = mlp(&[4, 3], 1).unwrap();
    let ended = graph(&[4], |builder| {
        builder.node("Softmax", &["a"], &["y"], &[("axis", Attribute::Int(-1))]);
    });
    let mut network = Network::new(&ended).unwrap();
    let parameters = network.parameters();
    let batch = Batch { input: floats(&[2, 4]), targets: Targets::Classes(vec![0, 2]) };
    let mut gradients = vec![0.0; parameters.len()];
    let loss = network.gradients(&parameters, &batch, &mut gradients).unwrap();
    let shares = network.predict(&parameters, &batch.input).unwrap();
    let wanted = -(shares[0].ln() + shares[4 + 2].ln()) / 2.0;
    assert!((loss - wanted).abs() < 1e-5);
    assert!(Network::new(&plain).is_ok());
}

#[test]
fn running_statistics_move_towards_those_of_the_batch() {
    let mut network = Network::new(&normalized()).unwrap();
    let parameters = network.parameters();
    let batch = Batch { input: floats(&[5, 2]), targets: Targets::Numbers(vec![0.0; 10]) };
    let mut gradients = vec![0.0; parameters.len()];
    network.gradients(&parameters, &batch, &mut gradients).unwrap();
    let entries = network.layout().entries();
    let statistics: Vec<_> =
        entries.iter().filter(|entry| entry.kind == EntryKind::Statistic).collect();
    assert_eq!(
        statistics.iter().map(|e| e.name.as_str()).collect::<Vec<_>>(),
        ["mean", "variance"]
    );
    let skysail_trainer::Values::Float32(values) = &batch.input.values else { panic!() };
    let added = &parameters[entries[0].range.clone()];
    for channel in 0..2 {
        let seen: Vec<f32> = (0..5).map(|row| values[row * 2 + channel] + added[channel]).collect();
        let mean = seen.iter().sum::<f32>() / 5.0;
        let variance = seen.iter().map(|value| (value - mean).powi(2)).sum::<f32>() / 5.0;
        for (entry, seen) in statistics.iter().zip([mean, variance]) {
            let running = parameters[entry.range.start + channel];
            let fall = gradients[entry.range.start + channel];
            assert!((running - fall - (0.8 * running + 0.2 * seen)).abs() < 1e-6);
        }
    }
}

fn normalized() -> Model {
    let filled = |value: f32| Tensor::new(&[2], &[value; 2]).unwrap();
    let others = [
        ("scale", filled(1.0)),
        ("bias", filled(0.0)),
        ("mean", filled(0.5)),
        ("variance", filled(2.0)),
    ];
    one("BatchNormalization", &[2], &others, &[("momentum", Attribute::Float(0.8))])
}

#[test]
fn dropout_applies_in_training_only() {
    const COUNT: u64 = 1000;
    let ratio = Tensor::new(&[], &[0.25_f32]).unwrap();
    let model = one("Dropout", &[COUNT], &[("ratio", ratio)], &[]);
    let mut network = Network::new(&model).unwrap();
    let mut parameters = network.parameters();
    let input = floats(&[1, COUNT as usize]);
    let made = network.predict(&parameters, &input).unwrap();
    let skysail_trainer::Values::Float32(values) = &input.values else { panic!() };
    let sums = values.iter().zip(&parameters).map(|(x, p)| x + p);
    assert!(made.iter().zip(sums).all(|(made, sum)| *made == sum));

    let batch = Batch { input, targets: Targets::Numbers(vec![0.0; COUNT as usize]) };
    let mut gradients = vec![0.0; parameters.len()];
    network.gradients(&parameters, &batch, &mut gradients).unwrap();
    let factor = 1.0 / 0.75_f32;
    for (gradient, made) in gradients.iter().zip(&made) {
        let kept = 2.0 / COUNT as f32 * factor * factor * made;
        assert!(*gradient == 0.0 || (gradient - kept).abs() < 1e-6);
    }
    let dropped = gradients.iter().filter(|gradient| **gradient == 0.0).count();
    assert!((200..300).contains(&dropped), "{dropped}");

    let mut again = vec![0.0; parameters.len()];
    network.clone().gradients(&parameters, &batch, &mut again).unwrap();
    assert_eq!(gradients, again, "a step is a function of its batch and parameters");
    parameters[0] += 1.0;
    network.gradients(&parameters, &batch, &mut again).unwrap();
    let same = again.iter().zip(&gradients).filter(|(a, b)| (**a == 0.0) == (**b == 0.0)).count();
    assert!(same < 900, "other parameters draw other numbers");
}

#[test]
fn parameters_without_influence_have_no_gradient() {
    let model = graph(&[3], |builder| {
        builder.initializer("w", Tensor::new(&[3], &[1.0_f32; 3]).unwrap());
        builder.node("Add", &["x", "w"], &["b"], &[]);
        builder.initializer("border", Tensor::new(&[], &[0.0_f32]).unwrap());
        builder.node("Greater", &["b", "border"], &["is"], &[]);
        builder.node("Exp", &["a"], &["e"], &[]);
        builder.node("Where", &["is", "e", "a"], &["y"], &[]);
    });
    let mut network = Network::new(&model).unwrap();
    let parameters = network.parameters();
    let batch = Batch { input: floats(&[2, 3]), targets: Targets::Numbers(vec![0.0; 6]) };
    let mut gradients = vec![f32::NAN; parameters.len()];
    network.gradients(&parameters, &batch, &mut gradients).unwrap();
    let entry = network.layout().entries().iter().find(|entry| entry.name == "w").unwrap();
    assert_eq!(gradients[entry.range.clone()], [0.0; 3]);
    assert!(gradients.iter().all(|gradient| gradient.is_finite()));
}

#[test]
fn non_finite_numbers_are_located() {
    let mut network = Network::new(&mlp(&[4, 3, 2], 1).unwrap()).unwrap();
    let mut parameters = network.parameters();
    let entry = network.layout().entries().iter().position(|e| e.name == "fc1.weight").unwrap();
    parameters[network.layout().entries()[entry].range.start] = f32::NAN;
    let batch = Batch { input: floats(&[2, 4]), targets: Targets::Classes(vec![0, 1]) };
    let mut gradients = vec![0.0; parameters.len()];
    let error = network.gradients(&parameters, &batch, &mut gradients).unwrap_err();
    assert!(matches!(error, TrainError::NotFinite { .. }));
    assert!(error.to_string().contains("'Gemm_2'"), "{error}");

    // The loss is finite, but its slope is not.
    let root = one("Sqrt", &[3], &[], &[]);
    let mut network = Network::new(&root).unwrap();
    let mut batch = Batch { input: floats(&[1, 3]), targets: Targets::Numbers(vec![1.0; 3]) };
    let parameters = vec![0.0; 3];
    batch.input.values = skysail_trainer::Values::Float32(vec![0.0; 3]);
    let error = network.gradients(&parameters, &batch, &mut [0.0; 3]).unwrap_err().to_string();
    assert!(error.starts_with("the gradient of 'p' became"), "{error}");
}

#[test]
fn networks_on_several_threads_are_independent() {
    let network = Network::new(&mlp(&[8, 6, 3], 1).unwrap()).unwrap();
    let parameters = network.parameters();
    let input = floats(&[10, 8]);
    let classes = Numbers(3);
    let mut classes = classes;
    let classes: Vec<u32> = (0..10).map(|_| classes.below(3) as u32).collect();
    let batch = Batch { input, targets: Targets::Classes(classes) };
    let step = || {
        let mut network = network.clone();
        let mut gradients = vec![0.0; parameters.len()];
        for _ in 0..20 {
            network.gradients(&parameters, &batch, &mut gradients).unwrap();
        }
        gradients
    };
    let wanted = step();
    let found: Vec<Vec<f32>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(step)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(found.iter().all(|found| *found == wanted));
}
