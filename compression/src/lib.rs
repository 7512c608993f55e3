//! Compressed models and their package. Nothing is here yet.
