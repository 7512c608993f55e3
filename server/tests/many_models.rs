//! Many models in one server.

mod support;

use support::models::{Models, digits_request, shipped};
use support::{Server, wait_until};

/// Models of the larger server.
const MANY: usize = 40;

/// A server with copies of one model, each of which has answered a request.
fn server_of(copies: usize) -> (Models, Server) {
    let models = Models::empty();
    let names: Vec<String> = (0..copies).map(|copy| format!("digits{copy}")).collect();
    for name in &names {
        models.write(&format!("{name}/1/model.onnx"), shipped("digits/1/model.onnx"));
    }
    let server = Server::start(models.path());
    for name in &names {
        assert_eq!(server.infer(name, digits_request()).status, 200);
    }
    (models, server)
}

#[test]
fn models_at_rest_have_no_threads() {
    let (_one, server_of_one) = server_of(1);
    let (_many, server_of_many) = server_of(MANY);
    // Threads that loaded models end after a while.
    wait_until("the threads of idle models to end", || {
        server_of_many.threads() <= server_of_one.threads() + MANY / 4
    });
}
