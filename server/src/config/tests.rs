//! Tests of settings: precedence, validation, and help texts.

use super::*;
use clap::CommandFactory;

fn config(arguments: &[&str]) -> Result<Config> {
    let arguments = ["skysail-server"].iter().chain(arguments);
    Config::new(Flags::try_parse_from(arguments).unwrap())
}

#[test]
fn help_texts_state_the_actual_defaults() {
    let command = Flags::command();
    let help = |flag: &str| {
        let mut all = command.get_arguments();
        all.find(|arg| arg.get_long() == Some(flag)).unwrap().get_help().unwrap().to_string()
    };
    let defaults = [
        Listen::defaults(),
        Repository::defaults(),
        Store::defaults(),
        Limits::defaults(),
        SharedMemory::defaults(),
        Threads::defaults(),
        Log::defaults(),
        Telemetry::defaults(),
    ];
    for (flag, value) in defaults.concat() {
        let value = match flag {
            "load-model" | "model" | "op-library" | "shared-memory" | "store-cache" => continue,
            "models" => "models, unless --model is given".to_owned(),
            "io-threads" | "compute-threads" => "number of cores".to_owned(),
            _ => value.trim_matches('"').to_lowercase(),
        };
        let help = help(flag);
        assert!(help.contains(&format!("[default: {value}]")), "--{flag}: {help}");
    }
}

#[test]
fn flags_override_the_file_and_the_file_overrides_defaults() {
    let folder = tempfile::tempdir().unwrap();
    let (models, file) = (folder.path().to_str().unwrap(), folder.path().join("s.toml"));
    std::fs::write(&file, "[limits]\nbody_bytes_max = 5\nrequests_max = 6\n").unwrap();
    let file = file.to_str().unwrap();
    let flags = ["--models", models, "--config", file, "--requests-max", "7"];
    let limits = config(&flags).unwrap().limits;
    assert_eq!((limits.body_bytes_max, limits.requests_max), (5, 7));
    assert_eq!(limits.connections_max, 4096);
}

#[test]
fn an_unknown_key_is_an_error_with_its_line() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "[limits]\nbody_max = 5\n").unwrap();
    let error = config(&["--config", file.path().to_str().unwrap()]).unwrap_err();
    let error = format!("{error:#}");
    assert!(error.contains("line 2") && error.contains("body_max"), "{error}");
}

#[test]
fn a_missing_folder_is_an_error_with_its_path() {
    let error = config(&["--models", "no/such/folder"]).unwrap_err().to_string();
    assert!(error.contains("no/such/folder"), "{error}");
}

#[test]
fn the_objective_is_optional_and_set_by_flag_or_file() {
    let folder = tempfile::tempdir().unwrap();
    let (models, file) = (folder.path().to_str().unwrap(), folder.path().join("s.toml"));
    let file = file.to_str().unwrap();
    let objective = |text: &str, flags: &[&str]| {
        std::fs::write(file, text).unwrap();
        let flags = [&["--models", models, "--config", file], flags].concat();
        config(&flags)
            .map(|config| config.engine(Roots::default()).objective_ms)
            .map_err(|e| e.to_string())
    };
    assert_eq!(objective("", &[]), Ok(None));
    assert_eq!(objective("[latency]\nobjective_ms = 50\n", &[]), Ok(Some(50.0)));
    let flag = ["--objective-ms", "2.5"];
    assert_eq!(objective("[latency]\nobjective_ms = 50\n", &flag), Ok(Some(2.5)));
    for bad in ["0", "0.0", "-5", "nan", "inf", "-inf"] {
        let error = objective(&format!("[latency]\nobjective_ms = {bad}\n"), &[]).unwrap_err();
        assert!(error.contains("objective-ms"), "{bad}: {error}");
    }
}

#[test]
fn places_are_one_or_many_and_none_twice() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(&path).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (a, b, file) = (at("a"), at("b"), folder.path().join("s.toml"));
    let read = |text: &str, flags: &[&str]| {
        std::fs::write(&file, format!("[repository]\n{text}\n")).unwrap();
        let flags = [&["--config", file.to_str().unwrap()], flags].concat();
        config(&flags).map(|config| config.repository).map_err(|error| format!("{error:#}"))
    };
    let one = read(&format!("models = '{a}'\nmodel = 'm={b}'"), &[]).unwrap();
    assert_eq!((one.models.len(), one.model.len()), (1, 1));
    let many = read(&format!("models = ['{a}', '{b}']"), &[]).unwrap();
    assert_eq!(many.models, [a.clone(), b.clone()]);
    let flags = read(&format!("models = '{a}'"), &["--models", &b]).unwrap();
    assert_eq!(flags.models, std::slice::from_ref(&b));
    let named = read("", &["--model", "m=/not/there/yet"]).unwrap();
    assert!(named.models.is_empty(), "no other repository is served then");
    for (text, words) in [
        (format!("models = ['{a}', '{a}/.']"), "given twice"),
        (format!("model = ['m={a}', 'm={b}']\nmodels = '{a}'"), "two models of this name"),
        (format!("models = '{a}/none'"), "no such folder"),
        ("model = 'm'".into(), "NAME=PATH"),
        ("model = '../m=x'".into(), "can not be the name of a model"),
        ("models = 5".into(), "a string or a list of strings"),
        ("models = 'ftp://x/y'".into(), "ftp://x/y"),
    ] {
        let error = read(&text, &[]).unwrap_err();
        assert!(error.contains(words), "{text}: {error}");
    }
}
