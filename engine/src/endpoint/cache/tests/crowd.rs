//! Many callers with few questions at the same time, some of whom fail or leave.

use super::*;

const CALLERS: u32 = 3000;
const FAILS: f32 = 7.0;

/// An executor that fails every other time it is asked about one value, and is slow by turns.
fn moody() -> Box<dyn Executor> {
    let (mut runs, mut failed) = (0_u32, false);
    puppet(move |inputs| {
        runs += 1;
        for _ in 0..runs % 50 {
            std::thread::yield_now();
        }
        let values = floats(&crate::executor::puppet::bytes(&inputs[0]));
        failed = values.contains(&FAILS) && !failed;
        if failed {
            return Err(ExecuteError::Request("told to".into()));
        }
        Ok(echo(inputs))
    })
}

/// Asks a few times, and leaves then if it has little patience.
async fn call(endpoint: &Arc<Endpoint>, number: u32) -> Option<Result<Response, Error>> {
    let value = (number % 10) as f32;
    let mut ticket = endpoint.submit(request(&[value; 3])).unwrap();
    if !number.is_multiple_of(3) {
        return Some(ticket.await);
    }
    for _ in 0..number % 7 {
        tokio::select! {
            biased;
            answer = &mut ticket => return Some(answer),
            () = tokio::task::yield_now() => {}
        }
    }
    None
}

#[test]
fn everyone_in_a_crowd_who_stays_gets_its_own_answer() {
    let cache = Some(CacheConfig { bytes_max: 4 << 20 });
    let endpoint = endpoint(batches(4), vec![moody(), moody()], settings(cache));
    let threads = Threads::start(&endpoint);
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(4).enable_time().build().unwrap();
    let mut callers = tokio::task::JoinSet::new();
    for number in 0..CALLERS {
        let endpoint = Arc::clone(&endpoint);
        let call = async move {
            let value = (number % 10) as f32;
            match call(&endpoint, number).await {
                Some(Ok(response)) => assert_eq!(rows(&response), [value; 3]),
                Some(Err(error)) => assert!(value == FAILS, "{error}"),
                None => {}
            }
        };
        callers.spawn_on(call, runtime.handle());
    }
    runtime.block_on(async {
        let hang = crate::testing::HANG;
        while let Some(caller) = tokio::time::timeout(hang, callers.join_next()).await.unwrap() {
            caller.unwrap();
        }
    });
    drop((threads, runtime));
    assert_eq!(
        (endpoint.model().waiting(), endpoint.cache.as_ref().unwrap().in_flight_count()),
        (0, 0)
    );
    assert_eq!(endpoint.cache_usage().unwrap().entries, 10);
    assert!(endpoint.statistics().runs() < u64::from(CALLERS) / 10);
    assert_eq!(Arc::strong_count(&endpoint), 1);
}
