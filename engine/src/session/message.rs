//! Messages of ONNX Runtime in words for the people who sent a model or a request: without the
//! places and functions of its source.

/// Endings of the names of source files.
const SOURCES: [&str; 6] = [".cc:", ".h:", ".cpp:", ".hpp:", ".cu:", ".cuh:"];

/// Most nodes inside each other that a message names.
const NODES_MAX: usize = 8;

/// Most places of the source that one message has.
const PLACES_MAX: usize = 32;

/// Says what the runtime says, without its source.
pub(super) fn plain(message: &str) -> String {
    let mut text = message.to_owned();
    for _ in 0..PLACES_MAX {
        match without_place(&text) {
            Some(shorter) => text = shorter,
            None => break,
        }
    }
    for _ in 0..NODES_MAX {
        match with_plain_node(&text) {
            Some(shorter) => text = shorter,
            None => break,
        }
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Names the first node that failed in fewer words.
fn with_plain_node(text: &str) -> Option<String> {
    let (before, rest) = text.split_once("Non-zero status code returned while running ")?;
    let (operator, rest) = rest.split_once(" node. Name:'")?;
    let (name, problem) = rest.split_once("' Status Message: ")?;
    let node = match name {
        "" => format!("its node of operator {operator}"),
        name => format!("its node '{name}' of operator {operator}"),
    };
    Some(format!("{before}{node}: {problem}"))
}

/// Cuts the first place of the source out, with the function and the check that stand behind it.
fn without_place(text: &str) -> Option<String> {
    let (start, end) = place(text)?;
    let is_full = text[start..end].contains('/');
    let rest = text[end..].trim_start();
    let rest = if is_full { after_signature(rest) } else { after_name(rest) };
    let rest = rest.trim_start();
    let problem = match rest.split_once(" was false.") {
        // What was false is an expression of the source.
        Some((check, "")) if !check.contains('\n') => "a check of the runtime failed",
        Some((check, problem)) if !check.contains('\n') => problem.trim_start(),
        _ => rest,
    };
    Some(format!("{}{problem}", &text[..start]))
}

/// Start and end of the first `FILE:LINE` of the source.
fn place(text: &str) -> Option<(usize, usize)> {
    let found = |ending: &&str| {
        text.match_indices(*ending).find_map(|(at, _)| {
            let after = &text[at + ending.len()..];
            let digits = after.bytes().take_while(u8::is_ascii_digit).count();
            let is_of_path = |c: char| c.is_ascii_alphanumeric() || "_./-+".contains(c);
            let name = text[..at].trim_end_matches(is_of_path).len();
            (digits > 0 && name < at).then_some((name, at + ending.len() + digits))
        })
    };
    SOURCES.iter().filter_map(found).min()
}

/// Skips the name of a function.
fn after_name(text: &str) -> &str {
    let is_name = |word: &str| {
        !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "_:~".contains(c))
    };
    match text.split_once(' ') {
        Some((word, rest)) if is_name(word) => rest,
        _ => text,
    }
}

/// Skips a whole C++ signature, such as `void a::f(int) const`.
fn after_signature(text: &str) -> &str {
    let mut rest = text;
    while let Some((_, after)) = rest.split_once('(').and_then(|(_, inner)| balanced(inner)) {
        rest = after;
        if !rest.starts_with(['(', ':', '>']) {
            break;
        }
    }
    for word in [" const", " mutable", " noexcept"] {
        rest = rest.strip_prefix(word).unwrap_or(rest);
    }
    match rest.strip_prefix(" [with ").and_then(|with| with.split_once(']')) {
        Some((_, after)) => after,
        None => rest,
    }
}

/// Splits after the parenthesis that closes one that was opened before.
fn balanced(text: &str) -> Option<(&str, &str)> {
    let mut open = 1_usize;
    let end = text.char_indices().find_map(|(at, c)| {
        match c {
            '(' => open += 1,
            ')' => open -= 1,
            _ => {}
        }
        (open == 0).then_some(at + 1)
    });
    text.split_at_checked(end?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn messages_lose_the_places_of_the_source() {
        for (message, said) in [
            (
                "Non-zero status code returned while running Reshape node. Name:'' Status Message: \
                 /onnxruntime_src/onnxruntime/core/providers/cpu/tensor/reshape_helper.h:91 \
                 onnxruntime::ReshapeHelper::ReshapeHelper(const onnxruntime::TensorShape&, \
                 onnxruntime::TensorShapeVector&, bool) input_shape_size == requested_shape_size was \
                 false. The input tensor cannot be reshaped to the requested shape. Input shape:{3}, \
                 requested shape:{2,2}\n",
                "its node of operator Reshape: The input tensor cannot be reshaped to the requested \
                 shape. Input shape:{3}, requested shape:{2,2}",
            ),
            (
                "Non-zero status code returned while running ConstantOfShape node. Name:'/fill/c' \
                 Status Message: /onnxruntime_src/onnxruntime/core/framework/bfc_arena.cc:360 void* \
                 onnxruntime::BFCArena::AllocateRawInternal(size_t, bool, onnxruntime::Stream*) \
                 Failed to allocate memory for requested buffer of size 17592186044416\n",
                "its node '/fill/c' of operator ConstantOfShape: Failed to allocate memory for \
                 requested buffer of size 17592186044416",
            ),
            (
                "/onnxruntime_src/onnxruntime/core/common/safeint.h:17 static void \
                 SafeIntExceptionHandler<onnxruntime::OnnxRuntimeException>::SafeIntOnOverflow() \
                 Integer overflow",
                "Integer overflow",
            ),
            (
                "Non-zero status code returned while running Loop node. Name:'l' Status Message: \
                 Non-zero status code returned while running Concat node. Name:'' Status Message: \
                 concatbase.h:133 PrepareForComputeImpl Non concat axis dimensions must match",
                "its node 'l' of operator Loop: its node of operator Concat: Non concat axis \
                 dimensions must match",
            ),
            (
                "Load model from m failed:/onnxruntime_src/core/graph/model.cc:180 \
                 onnxruntime::Model::Model(onnx::ModelProto&&, const std::function<void(int)>&) \
                 const [with T = int] Unsupported model IR version: 99, max supported IR version: 13",
                "Load model from m failed:Unsupported model IR version: 99, max supported IR \
                 version: 13",
            ),
            (
                "/a/b.cc:1 auto f::<lambda(int)>::operator()(int) const x != nullptr was false.",
                "a check of the runtime failed",
            ),
            ("'axes' has an axis outside of the dimension count", ""),
            ("this is a.h and not b.cc:", ""),
        ] {
            let said = if said.is_empty() { message } else { said };
            assert_eq!(plain(message), said);
        }
    }

    proptest! {
        #[test]
        fn no_message_breaks_it(
            parts in prop::collection::vec(
                prop::sample::select(vec![
                    "/a/b.cc:1 ", "x.h:2", ".cc:", "(", ")", "::", ">", " const", " was false.", "é",
                    "Non-zero status code returned while running ", " node. Name:'", "' ",
                    "Status Message: ", "\n", " [with ", "]", "f",
                ]),
                0..20,
            ),
        ) {
            let message = plain(&parts.concat());
            prop_assert!(place(&message).is_none(), "{}", message);
        }
    }
}
