/// What other implementations wrote, by name.
pub(crate) fn samples() -> Vec<(String, Vec<u8>)> {
    let lines = include_str!("../testdata/wire.txt").lines();
    let lines = lines.filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.split_once(" = "))
        .map(|(name, hex)| (name.to_owned(), bytes(hex)))
        .collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    let pairs = hex.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}
