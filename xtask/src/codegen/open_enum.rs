use proc_macro2::TokenStream;
use quote::{format_ident, quote};

use super::{
    rustdoc,
    schema::{OpenEnum, Variant},
};

pub(super) fn uses() -> TokenStream {
    quote!(
        use crate::models::open_enum;
    )
}

/// The enum, what it says, and how it is read; the rest is the same for all of them and comes from a macro in the crate.
pub(super) fn items(open: &OpenEnum) -> Vec<TokenStream> {
    let name = format_ident!("{}", open.name);
    let doc = rustdoc::lines(&open.description, 0);
    let aliases = rustdoc::aliases(&open.aliases, &open.name);
    let default = open.default.as_ref().map(|_| quote!(, Default));
    let variants = open.variants.iter().map(|variant| {
        let doc = rustdoc::lines(&variant.description, 4);
        let name = format_ident!("{}", variant.name);
        let default = (open.default.as_ref() == Some(&variant.name)).then(|| quote!(#[default]));
        quote!(#doc #default #name,)
    });
    let said = open.variants.iter().map(|Variant { wire, name, .. }| {
        let name = format_ident!("{name}");
        quote!(Self::#name => #wire,)
    });
    let read = open.variants.iter().map(
        |Variant {
             wire, name, spellings, ..
         }| {
            let name = format_ident!("{name}");
            quote!(_ if is(#wire) #(|| is(#spellings))* => Self::#name,)
        },
    );
    vec![
        quote! {
            #doc
            #aliases
            #[derive(Clone, Debug, PartialEq, Eq, Hash #default)]
            #[non_exhaustive]
            pub enum #name {
                #(#variants)*
                /// Something that this version does not know, as the hub spelt it.
                Other(String),
            }
        },
        quote! {
            impl #name {
                /// The word that the hub uses.
                pub fn as_str(&self) -> &str {
                    match self {
                        #(#said)*
                        Self::Other(text) => text,
                    }
                }
            }
        },
        quote! {
            impl From<&str> for #name {
                fn from(text: &str) -> Self {
                    let is = |word| text.eq_ignore_ascii_case(word);
                    match text {
                        #(#read)*
                        _ => Self::Other(text.to_owned()),
                    }
                }
            }
        },
        quote!(open_enum!(#name);),
    ]
}
