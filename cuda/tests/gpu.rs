//! Tests with a GPU: its memory and a group of one. Without one: errors that say so.

#![expect(clippy::print_stdout, reason = "prints skipped tests")]

use skysail_cuda::{Communicator, CudaError, Device, GroupId};
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(60);

/// First GPU; `None` without a working driver.
fn gpu() -> Option<Device> {
    match Device::open(0) {
        Ok(device) => Some(device),
        Err(error) => {
            println!("skipped: {error}");
            None
        }
    }
}

#[test]
fn without_a_driver_every_constructor_fails() {
    if !matches!(Device::count(), Err(CudaError::NoDriver)) {
        println!("skipped: there is a driver");
        return;
    }
    assert_eq!(Device::open(0).unwrap_err(), CudaError::NoDriver);
    assert_eq!(GroupId::new().unwrap_err(), CudaError::NoDriver);
    let message = CudaError::NoDriver.to_string();
    assert!(message.contains("no GPU") && message.contains("libcuda.so"), "{message}");
}

#[test]
fn the_error_of_a_missing_gpu_has_index_and_count() {
    let Ok(count) = Device::count() else {
        println!("skipped: there is no driver");
        return;
    };
    let missing = Device::open(count).unwrap_err();
    assert_eq!(missing, CudaError::NoDevice { index: count, count });
}

#[test]
fn values_round_trip_through_the_gpu() {
    let Some(device) = gpu() else { return };
    let values: Vec<f32> = (0..1000).map(|at| at as f32).collect();
    let mut buffer = device.zeros(values.len()).unwrap();
    device.upload(&values, &mut buffer).unwrap();
    let mut back = vec![0.0; values.len()];
    device.download(&buffer, &mut back).unwrap();
    assert_eq!(back, values);
    let short = device.download(&buffer, &mut back[1..]).unwrap_err();
    assert!(matches!(short, CudaError::Length { found: 999, wanted: 1000, .. }), "{short}");
}

/// A group of one is all that one GPU can test: NCCL rejects two ranks on one GPU.
#[test]
fn a_group_of_one_supports_all_operations() {
    let Some(device) = gpu() else { return };
    let Ok(id) = GroupId::new() else {
        println!("skipped: {}", CudaError::NoNccl);
        return;
    };
    let id = GroupId::from_bytes(id.to_bytes());
    let mut group = Communicator::join(&device, id, (0, 1), DEADLINE).unwrap();
    let mut numbers = device.zeros(3).unwrap();
    device.upload(&[1.0, 2.0, 3.0], &mut numbers).unwrap();
    group.all_reduce(&mut numbers).unwrap();
    let mut sums = [0.0; 3];
    device.download(&numbers, &mut sums).unwrap();
    assert_eq!(sums, [1.0, 2.0, 3.0]);
    let (mut mine, mut all) = (device.zeros(4).unwrap(), device.zeros(4).unwrap());
    device.upload(&[1, 2, 3, 4], &mut mine).unwrap();
    group.all_gather(&mine, &mut all).unwrap();
    group.broadcast(0, &mut all).unwrap();
    let mut bytes = [0; 4];
    device.download(&all, &mut bytes).unwrap();
    assert_eq!(bytes, [1, 2, 3, 4]);
    assert!(group.send(1, &mine).is_err());
}
