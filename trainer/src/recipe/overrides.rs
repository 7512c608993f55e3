//! Overrides of a recipe's keys from the command line.

use super::{Recipe, RecipeError};
use toml::{Table, Value};

/// Parses a recipe with settings `key=value`; keys are dotted.
pub(super) fn apply(text: &str, settings: &[String]) -> Result<Recipe, RecipeError> {
    let mut table: Table = text.parse().map_err(|error| RecipeError(format!("{error}")))?;
    let mut recipe = None;
    for setting in settings {
        let wrong = |problem: String| RecipeError(format!("--set {setting}: {problem}"));
        let (key, value) =
            setting.split_once('=').ok_or_else(|| wrong("write key=value".into()))?;
        let parts: Vec<&str> = key.trim().split('.').collect();
        if parts.iter().any(|part| part.is_empty()) {
            return Err(wrong("a part of the key is empty".to_owned()));
        }
        set(&mut table, &parts, parse(value.trim())).map_err(wrong)?;
        // Settings are applied one by one, so that an error names the wrong one.
        let read = Value::Table(table.clone()).try_into::<Recipe>();
        recipe = Some(read.map_err(|error| wrong(error.to_string().trim_end().to_owned()))?);
    }
    recipe.ok_or_else(|| RecipeError("there are no settings".to_owned()))
}

/// Parses a TOML value; anything else is an unquoted string.
fn parse(text: &str) -> Value {
    let document = format!("value = {text}").parse::<Table>().ok();
    let value =
        document.filter(|table| table.len() == 1).and_then(|mut table| table.remove("value"));
    value.unwrap_or_else(|| Value::String(text.to_owned()))
}

fn set(table: &mut Table, parts: &[&str], value: Value) -> Result<(), String> {
    let [first, rest @ ..] = parts else { return Ok(()) };
    if rest.is_empty() {
        table.insert((*first).to_owned(), value);
        return Ok(());
    }
    let inner = table.entry((*first).to_owned()).or_insert_with(|| Value::Table(Table::new()));
    match inner {
        Value::Table(inner) => set(inner, rest, value),
        _ => Err(format!("'{first}' is not a table: it is {inner}")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::ModelRecipe;
    use super::*;

    const SMALL: &str = "epochs = 2\nbatch = 8\nmodel.mlp = [784, 10]\n[data.digits]\n\
                         [schedule]\nrate = 0.1\n";

    fn set(settings: &[&str]) -> Result<Recipe, String> {
        let settings: Vec<String> = settings.iter().map(|text| (*text).to_owned()).collect();
        Recipe::parse(SMALL, &settings).map_err(|error| error.to_string())
    }

    #[test]
    fn nested_keys_are_set() {
        let recipe = set(&[
            "batch = 16",
            "schedule.rate=1e-3",
            "model.mlp=[784, 5, 10]",
            "optimizer.nesterov=true",
            "output=some/where",
            "schedule.decay.at-epochs=[1]",
        ]);
        // A decay needs a factor; the error names the setting.
        let message = recipe.unwrap_err();
        assert!(message.starts_with("--set schedule.decay.at-epochs=[1]: "), "{message}");
        let recipe =
            set(&["batch = 16", "schedule.rate=1e-3", "model.mlp=[784, 5, 10]", "output=a/b"]);
        let recipe = recipe.unwrap();
        assert_eq!((recipe.batch, recipe.schedule.rate), (16, 1e-3));
        assert_eq!(recipe.model, ModelRecipe::Mlp(vec![784, 5, 10]));
        assert_eq!(recipe.output.unwrap().to_str(), Some("a/b"));
    }

    #[test]
    fn impossible_settings_are_rejected() {
        for (setting, wanted) in [
            ("batch", "write key=value"),
            ("batch=many", "invalid type"),
            ("batch.size=3", "'batch' is not a table"),
            ("no.such.key=3", "unknown field `no`"),
            (".=3", "a part of the key is empty"),
            ("epochs=0", "1 or more"),
        ] {
            let message = set(&[setting]).unwrap_err();
            assert!(message.contains(wanted), "{setting}: {message}");
        }
    }
}
