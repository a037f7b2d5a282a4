use proc_macro2::TokenStream;
use quote::{format_ident, quote};

use super::{
    rustdoc,
    schema::{Field, Presence, Spec, Structure},
};

pub(super) fn uses(spec: &Spec) -> TokenStream {
    let named = spec.uses.iter().map(|(module, names)| {
        let module: TokenStream = module.parse().expect("a module is a path");
        let names = names.iter().map(|name| format_ident!("{name}"));
        quote!(use #module::{#(#names),*};)
    });
    quote! {
        use std::collections::BTreeMap;
        use azure_core::{fmt::SafeDebug, time::OffsetDateTime};
        use serde::{Deserialize, Serialize};
        use serde_json::{Map, Value};
        use super::enums::*;
        use crate::models::{null_as_default, seconds, timestamp};
        #(#named)*
    }
}

pub(super) fn items(object: &Structure) -> Vec<TokenStream> {
    let mut items = vec![declaration(object)];
    if !object.answer {
        items.push(constructors(object));
    }
    items
}

fn declaration(object: &Structure) -> TokenStream {
    let name = format_ident!("{}", object.name);
    let doc = rustdoc::lines(&object.description, 0);
    let aliases = rustdoc::aliases(&object.aliases, &object.name);
    let has_required = object.fields.iter().any(|field| field.presence == Presence::Required);
    let default = (!object.answer && !has_required).then(|| quote!(, Default));
    let fields = object.fields.iter().map(member);
    let other = object.keeps_unknown.then(|| {
        quote! {
            /// Members that this version does not know, as the hub sent them. They are sent back with the rest.
            #[serde(flatten)]
            #[safe(false)]
            pub other: Map<String, Value>,
        }
    });
    quote! {
        #doc
        #aliases
        #[derive(Clone, PartialEq, SafeDebug, Serialize, Deserialize #default)]
        #[serde(rename_all = "camelCase")]
        #[safe(true)]
        #[non_exhaustive]
        pub struct #name {
            #(#fields)*
            #other
        }
    }
}

fn member(field: &Field) -> TokenStream {
    let name = format_ident!("{}", field.name);
    let doc = rustdoc::lines(&field.description, 4);
    let hidden = field.hidden.then(|| quote!(#[safe(false)]));
    let kind = written(field);
    let serde = serde(field);
    quote!(#doc #serde #hidden pub #name: #kind,)
}

/// The type of the field, `Option` and all.
fn written(field: &Field) -> TokenStream {
    let kind = bare(field);
    if field.presence == Presence::Optional {
        quote!(Option<#kind>)
    } else {
        kind
    }
}

fn bare(field: &Field) -> TokenStream {
    field
        .kind
        .parse()
        .expect("kinds are checked to be types where they are read")
}

fn serde(field: &Field) -> TokenStream {
    let Some(wire) = &field.wire else {
        return quote!(#[serde(flatten)]);
    };
    let rename = (camel(&field.name) != *wire).then(|| quote!(rename = #wire,));
    let optional = field.presence == Presence::Optional;
    let with = match field.kind.as_str() {
        "OffsetDateTime" if optional => Some("timestamp::option"),
        "OffsetDateTime" => Some("timestamp"),
        "Duration" if optional => Some("seconds::option"),
        "Duration" => Some("seconds"),
        _ => None,
    };
    let with = with.map(|with| quote!(with = #with,));
    let presence = match field.presence {
        Presence::Required => quote!(),
        Presence::Optional if with.is_some() => quote!(default, skip_serializing_if = "Option::is_none",),
        Presence::Optional => quote!(skip_serializing_if = "Option::is_none",),
        Presence::Defaulted => quote!(default, deserialize_with = "null_as_default",),
        Presence::Collection => {
            let kind = field.kind.split(' ').next().unwrap_or_default();
            let empty = format!("{kind}::is_empty");
            quote!(default, deserialize_with = "null_as_default", skip_serializing_if = #empty,)
        }
    };
    let attributes = quote!(#rename #presence #with);
    if attributes.is_empty() {
        quote!()
    } else {
        quote!(#[serde(#attributes)])
    }
}

/// `new` with what is required, and a `with_…` for all else that the hub lets us say.
fn constructors(object: &Structure) -> TokenStream {
    let name = format_ident!("{}", object.name);
    let (required, rest): (Vec<&Field>, Vec<&Field>) = object
        .fields
        .iter()
        .partition(|field| field.presence == Presence::Required);
    let new = (!required.is_empty()).then(|| {
        let arguments = required.iter().map(|field| {
            let (name, kind) = (format_ident!("{}", field.name), argument(field));
            quote!(#name: #kind)
        });
        let taken = required.iter().map(|field| {
            let (name, value) = (format_ident!("{}", field.name), taken(field));
            if name == value.to_string() {
                quote!(#name)
            } else {
                quote!(#name: #value)
            }
        });
        let left = rest.iter().map(|field| format_ident!("{}", field.name));
        let left = left.chain(object.keeps_unknown.then(|| format_ident!("other")));
        quote! {
            /// With what it cannot be without. The `with_…` methods add to it.
            pub fn new(#(#arguments),*) -> Self {
                Self { #(#taken,)* #(#left: Default::default(),)* }
            }
        }
    });
    let setters = rest.iter().filter(|field| !field.read_only).map(|field| {
        let field_name = format_ident!("{}", field.name);
        let method = format_ident!("with_{}", field.name);
        let (kind, value) = (argument(field), taken(field));
        let doc = format!(" Sets [`{0}`](Self::{0}).", field.name);
        let value = if field.presence == Presence::Optional {
            quote!(Some(#value))
        } else {
            value
        };
        quote! {
            #[doc = #doc]
            #[must_use]
            pub fn #method(mut self, #field_name: #kind) -> Self {
                self.#field_name = #value;
                self
            }
        }
    });
    quote!(impl #name { #new #(#setters)* })
}

/// How an argument is taken: text and secrets in any form that becomes one.
fn argument(field: &Field) -> TokenStream {
    let kind = bare(field);
    if converted(field) {
        quote!(impl Into<#kind>)
    } else {
        kind
    }
}

fn taken(field: &Field) -> TokenStream {
    let name = format_ident!("{}", field.name);
    if converted(field) {
        quote!(#name.into())
    } else {
        quote!(#name)
    }
}

fn converted(field: &Field) -> bool {
    matches!(
        field.kind.as_str(),
        "String" | "Secret" | "Etag" | "JsonText" | "ScheduledJobKind" | "Value"
    )
}

/// What serde's `rename_all = "camelCase"` makes of a field's name.
fn camel(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| name + &word[..1].to_ascii_uppercase() + &word[1..])
}
