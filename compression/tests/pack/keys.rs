//! Tests of keys and signatures.

use crate::support::{Folder, classifier};
use std::os::unix::fs::PermissionsExt;

#[test]
fn a_signature_is_valid_for_its_key_only() {
    let folder = Folder::new();
    folder.model("m.onnx", &classifier().0);
    folder.done(&["keygen", "a.key"]);
    folder.done(&["keygen", "b.key"]);
    let mode = |file| folder.path(file).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("a.key"), mode("a.key.pub") & 0o400), (0o600, 0o400));
    folder.done(&["pack", "m.onnx", "--sign", "a.key"]);
    let found = folder.json(&["verify", "m.sky", "--key", "a.key.pub"]);
    assert_eq!(found["trusted"], true);
    let public = std::fs::read_to_string(folder.path("a.key.pub")).unwrap();
    assert_eq!(found["signed_by"], public.trim());
    let message = folder.fails(1, &["verify", "m.sky", "--key", "b.key.pub"]);
    assert!(message.contains("it was signed with the key"), "{message}");
    assert!(folder.done(&["verify", "m.sky"]).contains("--key says whether to trust it"));
}

#[test]
fn an_unsigned_package_does_not_pass() {
    let folder = Folder::new();
    folder.model("m.onnx", &classifier().0);
    folder.done(&["keygen", "a.key"]);
    folder.done(&["pack", "m.onnx"]);
    let message = folder.fails(1, &["verify", "m.sky", "--key", "a.key.pub"]);
    assert!(message.contains("it is not signed"), "{message}");
    assert_eq!(folder.json(&["verify", "m.sky"])["trusted"], false);
}

#[test]
fn keys_are_not_replaced_and_other_files_are_rejected() {
    let folder = Folder::new();
    folder.model("m.onnx", &classifier().0);
    folder.done(&["keygen", "a.key"]);
    let key = std::fs::read(folder.path("a.key")).unwrap();
    folder.fails(1, &["keygen", "a.key"]);
    std::fs::remove_file(folder.path("a.key.pub")).unwrap();
    folder.fails(1, &["keygen", "a.key"]);
    assert_eq!(std::fs::read(folder.path("a.key")).unwrap(), key);
    let message = folder.fails(1, &["pack", "m.onnx", "--sign", "m.onnx"]);
    assert!(message.contains("--sign takes the private key that `keygen` wrote"), "{message}");
    assert_eq!(folder.files(), ["a.key", "m.onnx"]);
}
