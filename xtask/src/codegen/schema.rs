use std::collections::BTreeMap;

use openapiv3::{
    AdditionalProperties, OpenAPI, ReferenceOr, Schema, SchemaData, SchemaKind, Type, VariantOrUnknownOrEmpty,
};
use serde::{Deserialize, de::DeserializeOwned};

/// The description, read: what Rust needs to know and nothing else.
pub(super) struct Spec {
    pub(super) definitions: Vec<Definition>,
    /// Names that field types mention, by the module they come from.
    pub(super) uses: BTreeMap<String, Vec<String>>,
}

pub(super) enum Definition {
    Enum(OpenEnum),
    Struct(Structure),
}

pub(super) struct OpenEnum {
    pub(super) name: String,
    pub(super) description: String,
    pub(super) aliases: Vec<String>,
    pub(super) variants: Vec<Variant>,
    pub(super) default: Option<String>,
}

pub(super) struct Variant {
    pub(super) wire: String,
    pub(super) name: String,
    pub(super) description: String,
    pub(super) spellings: Vec<String>,
}

pub(super) struct Structure {
    pub(super) name: String,
    pub(super) description: String,
    pub(super) aliases: Vec<String>,
    pub(super) fields: Vec<Field>,
    pub(super) keeps_unknown: bool,
    pub(super) answer: bool,
}

pub(super) struct Field {
    pub(super) name: String,
    /// The member's name in JSON; a flattened field has none.
    pub(super) wire: Option<String>,
    pub(super) description: String,
    pub(super) kind: String,
    pub(super) presence: Presence,
    pub(super) read_only: bool,
    pub(super) hidden: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    Required,
    Optional,
    /// Absent reads as the default, and the default is written.
    Defaulted,
    /// A collection: absent reads as empty, and empty is not written.
    Collection,
}

impl Spec {
    pub(super) fn read(api: &OpenAPI) -> Result<Self, String> {
        let uses = mark(&api.extensions, "x-rust-uses")?.unwrap_or_default();
        let schemas = &api.components.as_ref().ok_or("no components")?.schemas;
        let mut renamed = BTreeMap::new();
        for (name, schema) in schemas {
            let rust: Option<String> = mark(&item(name, schema)?.schema_data.extensions, "x-rust-name")?;
            renamed.insert(name.as_str(), rust.unwrap_or_else(|| name.clone()));
        }
        let mut definitions = Vec::new();
        for (name, schema) in schemas {
            let reader = Reader {
                renamed: &renamed,
                name,
            };
            definitions.extend(
                reader
                    .definition(item(name, schema)?)
                    .map_err(|error| format!("{name}: {error}"))?,
            );
        }
        Ok(Self { definitions, uses })
    }
}

struct Reader<'a> {
    renamed: &'a BTreeMap<&'a str, String>,
    name: &'a str,
}

impl Reader<'_> {
    fn definition(&self, schema: &Schema) -> Result<Option<Definition>, String> {
        let data = &schema.schema_data;
        let known = [
            "name",
            "handwritten",
            "left-out",
            "alias",
            "variants",
            "default",
            "flatten",
            "answer",
        ];
        check_marks(data, &known)?;
        for absent in ["x-rust-handwritten", "x-rust-left-out"] {
            if mark::<String>(&data.extensions, absent)?.is_some() {
                return Ok(None);
            }
        }
        let name = self.renamed[self.name].clone();
        let description = described(data)?;
        let aliases = mark(&data.extensions, "x-rust-alias")?.unwrap_or_default();
        Ok(Some(match &schema.schema_kind {
            SchemaKind::Type(Type::String(string)) => {
                let wires: Vec<&String> = string.enumeration.iter().flatten().collect();
                let (variants, default) = self.variants(&wires, data)?;
                Definition::Enum(OpenEnum {
                    name,
                    description,
                    aliases,
                    variants,
                    default,
                })
            }
            SchemaKind::Type(Type::Object(object)) => Definition::Struct(Structure {
                name,
                description,
                aliases,
                fields: self.fields(object, data)?,
                keeps_unknown: matches!(object.additional_properties, Some(AdditionalProperties::Any(true))),
                answer: flag(data, "x-rust-answer")?,
            }),
            _ => return Err("is neither an object nor an enum, and has no mark that says why".to_owned()),
        }))
    }

    fn variants(&self, wires: &[&String], data: &SchemaData) -> Result<(Vec<Variant>, Option<String>), String> {
        let mut marks: BTreeMap<String, VariantMark> =
            mark(&data.extensions, "x-rust-variants")?.ok_or("an enum needs x-rust-variants")?;
        let mut variants = Vec::new();
        for wire in wires {
            let VariantMark {
                name,
                description,
                aliases,
            } = marks
                .remove(*wire)
                .ok_or(format!("x-rust-variants says nothing of {wire}"))?;
            let name = name.unwrap_or_else(|| pascal(wire));
            variants.push(Variant {
                wire: (*wire).clone(),
                name,
                description,
                spellings: aliases,
            });
        }
        if let Some(extra) = marks.keys().next() {
            return Err(format!("x-rust-variants knows {extra}, which is not in the enum"));
        }
        let default = match mark::<String>(&data.extensions, "x-rust-default")? {
            Some(wire) => {
                let variant = variants.iter().find(|variant| variant.wire == wire);
                Some(
                    variant
                        .ok_or(format!("the default {wire} is not in the enum"))?
                        .name
                        .clone(),
                )
            }
            None => None,
        };
        Ok((variants, default))
    }

    fn fields(&self, object: &openapiv3::ObjectType, data: &SchemaData) -> Result<Vec<Field>, String> {
        let flattened: BTreeMap<String, FlattenMark> = mark(&data.extensions, "x-rust-flatten")?.unwrap_or_default();
        let mut fields = Vec::new();
        for (wire, schema) in &object.properties {
            let required = object.required.contains(wire);
            let taker = flattened.iter().find(|(_, flatten)| flatten.properties.contains(wire));
            match (taker, schema) {
                (Some((name, _)), _) if !required => {
                    return Err(format!("{wire} is flattened into {name}, and not required"));
                }
                // It takes the place of the first of its members.
                (Some((name, flatten)), _) if flatten.properties.first() == Some(wire) => {
                    fields.push(flatten.field(name));
                }
                (Some(_), _) => {}
                (None, ReferenceOr::Item(schema)) => {
                    let field = self.field(wire, schema, required);
                    fields.push(field.map_err(|error| format!("{wire}: {error}"))?);
                }
                (None, _) => return Err(format!("{wire}: wrap the $ref in allOf and describe it")),
            }
        }
        Ok(fields)
    }

    fn field(&self, wire: &str, schema: &Schema, required: bool) -> Result<Field, String> {
        let data = &schema.schema_data;
        check_marks(data, &["name", "type", "default", "hidden"])?;
        let kind = match mark::<String>(&data.extensions, "x-rust-type")? {
            Some(kind) => kind,
            None => self.kind(schema)?,
        };
        syn::parse_str::<syn::Type>(&kind).map_err(|_| format!("{kind} is not a Rust type"))?;
        let collection = ["Vec <", "BTreeMap <", "Map <"]
            .iter()
            .any(|prefix| kind.starts_with(prefix));
        let presence = if required {
            Presence::Required
        } else if collection {
            Presence::Collection
        } else if flag(data, "x-rust-default")? {
            Presence::Defaulted
        } else {
            Presence::Optional
        };
        Ok(Field {
            name: mark(&data.extensions, "x-rust-name")?.unwrap_or_else(|| snake(wire)),
            wire: Some(wire.to_owned()),
            description: described(data)?,
            kind,
            presence,
            read_only: data.read_only,
            hidden: flag(data, "x-rust-hidden")?,
        })
    }

    fn kind(&self, schema: &Schema) -> Result<String, String> {
        Ok(match &schema.schema_kind {
            SchemaKind::Type(Type::String(string)) => match &string.format {
                VariantOrUnknownOrEmpty::Item(openapiv3::StringFormat::DateTime) => "OffsetDateTime".to_owned(),
                VariantOrUnknownOrEmpty::Item(openapiv3::StringFormat::Password) => "Secret".to_owned(),
                VariantOrUnknownOrEmpty::Empty => "String".to_owned(),
                other => return Err(format!("strings of format {other:?} have no Rust type yet")),
            },
            SchemaKind::Type(Type::Boolean(_)) => "bool".to_owned(),
            SchemaKind::Type(Type::Integer(integer)) => {
                let sign = if integer.minimum == Some(0) { 'u' } else { 'i' };
                let long = VariantOrUnknownOrEmpty::Item(openapiv3::IntegerFormat::Int64);
                format!("{sign}{}", if integer.format == long { 64 } else { 32 })
            }
            SchemaKind::Type(Type::Array(array)) => {
                let items = array.items.as_ref().ok_or("an array of what?")?;
                format!("Vec < {} >", self.referred(&items.clone().unbox())?)
            }
            SchemaKind::Type(Type::Object(object)) => match &object.additional_properties {
                Some(AdditionalProperties::Schema(values)) => match self.referred(values)?.as_str() {
                    "Value" => "Map < String , Value >".to_owned(),
                    values => format!("BTreeMap < String , {values} >"),
                },
                _ => return Err("an object within an object needs a name of its own".to_owned()),
            },
            SchemaKind::AllOf { all_of } if all_of.len() == 1 => self.referred(&all_of[0])?,
            SchemaKind::Any(_) => "Value".to_owned(),
            _ => return Err("has no Rust type yet; x-rust-type can name one".to_owned()),
        })
    }

    fn referred(&self, schema: &ReferenceOr<Schema>) -> Result<String, String> {
        match schema {
            ReferenceOr::Item(schema) => self.kind(schema),
            ReferenceOr::Reference { reference } => {
                let name = reference.rsplit('/').next().unwrap_or(reference);
                self.renamed
                    .get(name)
                    .cloned()
                    .ok_or(format!("there is no {reference}"))
            }
        }
    }
}

#[derive(Deserialize)]
struct VariantMark {
    name: Option<String>,
    description: String,
    #[serde(default)]
    aliases: Vec<String>,
}

#[derive(Deserialize)]
struct FlattenMark {
    description: String,
    #[serde(rename = "type")]
    kind: String,
    properties: Vec<String>,
}

impl FlattenMark {
    fn field(&self, name: &str) -> Field {
        Field {
            name: name.to_owned(),
            wire: None,
            description: self.description.clone(),
            kind: self.kind.clone(),
            presence: Presence::Required,
            read_only: false,
            hidden: false,
        }
    }
}

fn item<'a>(name: &str, schema: &'a ReferenceOr<Schema>) -> Result<&'a Schema, String> {
    schema.as_item().ok_or(format!("{name} is a reference"))
}

fn described(data: &SchemaData) -> Result<String, String> {
    data.description.clone().ok_or_else(|| "has no description".to_owned())
}

fn flag(data: &SchemaData, name: &str) -> Result<bool, String> {
    Ok(mark(&data.extensions, name)?.unwrap_or(false))
}

fn mark<T: DeserializeOwned>(
    extensions: &indexmap::IndexMap<String, serde_json::Value>,
    name: &str,
) -> Result<Option<T>, String> {
    let read = |value: &serde_json::Value| serde_json::from_value(value.clone());
    extensions
        .get(name)
        .map(read)
        .transpose()
        .map_err(|error| format!("{name}: {error}"))
}

/// A misspelt mark would be ignored in silence.
fn check_marks(data: &SchemaData, known: &[&str]) -> Result<(), String> {
    let unknown = data
        .extensions
        .keys()
        .find(|key| key.strip_prefix("x-rust-").is_none_or(|key| !known.contains(&key)));
    match unknown {
        Some(unknown) => Err(format!("{unknown} means nothing here")),
        None => Ok(()),
    }
}

/// `lastActivityTime` to `last_activity_time`.
fn snake(wire: &str) -> String {
    let mut name = String::new();
    for letter in wire.chars() {
        if letter.is_ascii_uppercase() {
            name.push('_');
        }
        name.push(letter.to_ascii_lowercase());
    }
    name
}

/// `selfSigned` to `SelfSigned`.
fn pascal(wire: &str) -> String {
    let (first, rest) = wire.split_at(1);
    first.to_ascii_uppercase() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(schema: &str, expected: &str) {
        let api = format!(
            "openapi: 3.0.3\ninfo: {{ title: t, version: v }}\npaths: {{}}\ncomponents: {{ schemas: {{ Thing: {schema} }} }}"
        );
        let api = serde_yaml_ng::from_str(&api).unwrap();
        assert_eq!(Spec::read(&api).err().as_deref(), Some(expected));
    }

    #[test]
    fn a_faulty_description_is_refused_by_name() {
        refused("{ type: object }", "Thing: has no description");
        refused("{ x-rust-nmae: X }", "Thing: x-rust-nmae means nothing here");
        refused(
            "{ description: d }",
            "Thing: is neither an object nor an enum, and has no mark that says why",
        );
        refused(
            "{ description: d, type: string, enum: [a] }",
            "Thing: an enum needs x-rust-variants",
        );
        refused(
            "{ description: d, type: string, enum: [a], x-rust-variants: { b: { description: d } } }",
            "Thing: x-rust-variants says nothing of a",
        );
        refused(
            "{ description: d, type: object, properties: { n: { description: d, type: integer, x-rust-type: '1x' } } }",
            "Thing: n: 1x is not a Rust type",
        );
        refused(
            "{ description: d, type: object, properties: { n: { description: d, allOf: [{ $ref: '#/x/Nothing' }] } } }",
            "Thing: n: there is no #/x/Nothing",
        );
    }

    #[test]
    fn names_are_told_in_the_manner_of_rust() {
        assert_eq!(snake("maxExecutionTimeInSeconds"), "max_execution_time_in_seconds");
        assert_eq!(pascal("selfSigned"), "SelfSigned");
    }
}
