use proc_macro2::TokenStream;
use quote::quote;

/// A description as `///` lines. Paragraphs are told apart by blank lines; each is wrapped to fit `indent`.
pub(super) fn lines(description: &str, indent: usize) -> TokenStream {
    let mut lines: Vec<String> = Vec::new();
    for paragraph in description.split("\n").filter(|paragraph| !paragraph.trim().is_empty()) {
        if !lines.is_empty() {
            lines.push(String::new());
        }
        wrap(paragraph, WIDTH - indent, &mut lines);
    }
    quote!(#(#[doc = #lines])*)
}

/// Other SDKs' names for a thing, for the search of rustdoc.
pub(super) fn aliases(aliases: &[String], name: &str) -> TokenStream {
    let aliases = aliases.iter().filter(|alias| *alias != name);
    quote!(#(#[doc(alias = #aliases)])*)
}

fn wrap(paragraph: &str, width: usize, lines: &mut Vec<String>) {
    let mut line = String::new();
    for word in paragraph.split_whitespace() {
        if line.len() + 1 + word.len() > width && !line.is_empty() {
            lines.push(std::mem::take(&mut line));
        }
        line.push(' ');
        line.push_str(word);
    }
    lines.push(line);
}

/// What is left of a line after `///`.
const WIDTH: usize = 120 - 3;
