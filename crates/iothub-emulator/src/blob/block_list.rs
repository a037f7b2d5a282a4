//! The bodies of Put Block List.

use quick_xml::{Reader, events::Event};

use super::refusal::Refusal;

/// One block that a blob shall consist of.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reference {
    pub(super) from: From,
    /// As the client wrote it, in base64.
    pub(super) id: String,
}

/// Where a block is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    Committed,
    Uncommitted,
    /// Among uncommitted blocks first.
    Latest,
}

pub(super) fn parse(xml: &[u8]) -> Result<Vec<Reference>, Refusal> {
    let xml = std::str::from_utf8(xml).map_err(|_| Refusal::InvalidXmlDocument)?;
    let mut reader = Reader::from_str(xml);
    let mut list = Vec::new();
    let (mut inside, mut from) = (false, None);
    loop {
        match reader.read_event().map_err(|_| Refusal::InvalidXmlDocument)? {
            Event::Start(tag) => match (inside, tag.local_name().as_ref()) {
                (false, "BlockList") => inside = true,
                (true, "Committed") => from = Some(From::Committed),
                (true, "Uncommitted") => from = Some(From::Uncommitted),
                (true, "Latest") => from = Some(From::Latest),
                _ => return Err(Refusal::InvalidXmlDocument),
            },
            // An empty list has no end of its own.
            Event::Empty(tag) if !inside && tag.local_name().as_ref() == "BlockList" => return Ok(list),
            Event::Empty(_) => return Err(Refusal::InvalidXmlDocument),
            Event::Text(text) => {
                let id = text.trim();
                match from {
                    Some(from) if !id.is_empty() => list.push(Reference {
                        from,
                        id: id.to_owned(),
                    }),
                    _ if id.is_empty() => {}
                    _ => return Err(Refusal::InvalidXmlDocument),
                }
            }
            Event::End(tag) if tag.local_name().as_ref() == "BlockList" => return Ok(list),
            Event::End(_) => from = None,
            Event::Decl(_) | Event::Comment(_) => {}
            _ => return Err(Refusal::InvalidXmlDocument),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_stand_in_their_order() {
        let xml = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<BlockList>\n  <Latest>AAAA</Latest>\
                   <Uncommitted>AQ==</Uncommitted><Committed>BBBB</Committed></BlockList>";
        let expected = [
            (From::Latest, "AAAA"),
            (From::Uncommitted, "AQ=="),
            (From::Committed, "BBBB"),
        ];
        let expected = expected.map(|(from, id)| Reference { from, id: id.into() });
        assert_eq!(parse(xml.as_bytes()).unwrap(), expected);
        assert_eq!(parse(b"<BlockList/>").unwrap(), []);
        assert_eq!(parse(b"<BlockList></BlockList>").unwrap(), []);
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for xml in [
            "",
            "text",
            "<BlockList>",
            "<BlockList><Latest>AAAA",
            "<BlockList>AAAA</BlockList>",
            "<Latest>AAAA</Latest>",
            "<BlockList><Newest>AAAA</Newest></BlockList>",
            "<BlockList><Latest/></BlockList>",
            "<BlockList><![CDATA[x]]></BlockList>",
        ] {
            assert_eq!(parse(xml.as_bytes()), Err(Refusal::InvalidXmlDocument), "{xml}");
        }
    }
}
