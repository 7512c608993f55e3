//! Keys of a recipe that are set where it is started.

use super::{Recipe, RecipeError};
use toml::{Table, Value};

/// The recipe of a text, with settings `key=value`; a key has dots between its parts.
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
        // One after the other, so that the one that is wrong is named.
        let read = Value::Table(table.clone()).try_into::<Recipe>();
        recipe = Some(read.map_err(|error| wrong(error.to_string().trim_end().to_owned()))?);
    }
    recipe.ok_or_else(|| RecipeError("nothing is set".to_owned()))
}

/// A value of TOML; what is none is a text that does not need quotes.
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
        _ => Err(format!("'{first}' has no keys in it: it is {inner}")),
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
    fn keys_are_set_wherever_they_are() {
        let recipe = set(&[
            "batch = 16",
            "schedule.rate=1e-3",
            "model.mlp=[784, 5, 10]",
            "optimizer.nesterov=true",
            "output=some/where",
            "schedule.decay.at-epochs=[1]",
        ]);
        // A decay without its factor is no decay, and the setting that is wrong is named.
        let said = recipe.unwrap_err();
        assert!(said.starts_with("--set schedule.decay.at-epochs=[1]: "), "{said}");
        let recipe =
            set(&["batch = 16", "schedule.rate=1e-3", "model.mlp=[784, 5, 10]", "output=a/b"]);
        let recipe = recipe.unwrap();
        assert_eq!((recipe.batch, recipe.schedule.rate), (16, 1e-3));
        assert_eq!(recipe.model, ModelRecipe::Mlp(vec![784, 5, 10]));
        assert_eq!(recipe.output.unwrap().to_str(), Some("a/b"));
    }

    #[test]
    fn what_can_not_be_set_is_told() {
        for (setting, wanted) in [
            ("batch", "write key=value"),
            ("batch=many", "invalid type"),
            ("batch.size=3", "'batch' has no keys in it"),
            ("no.such.key=3", "unknown field `no`"),
            (".=3", "a part of the key is empty"),
            ("epochs=0", "1 or more"),
        ] {
            let said = set(&[setting]).unwrap_err();
            assert!(said.contains(wanted), "{setting}: {said}");
        }
    }
}
