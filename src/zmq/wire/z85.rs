//! Z85 (32/Z85): keys as text, five characters for four octets.

const CHARACTERS: &[u8; 85] =
    b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";

/// Octets as text; those beyond a multiple of four are left out.
#[must_use]
pub fn encode(octets: &[u8]) -> String {
    let mut text = String::with_capacity(octets.len() / 4 * 5);
    for four in octets.chunks_exact(4) {
        let mut value = four.iter().fold(0u32, |value, &octet| value << 8 | u32::from(octet));
        let mut five = ['0'; 5];
        for character in five.iter_mut().rev() {
            let digit = CHARACTERS.get((value % 85) as usize).copied().unwrap_or(b'0');
            *character = char::from(digit);
            value /= 85;
        }
        text.extend(five);
    }
    text
}

/// Text as octets; `None` when it is no Z85.
#[must_use]
pub fn decode(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(5) {
        return None;
    }
    let mut octets = Vec::with_capacity(text.len() / 5 * 4);
    for five in text.as_bytes().chunks_exact(5) {
        let mut value = 0u32;
        for character in five {
            let digit = u32::try_from(CHARACTERS.iter().position(|known| known == character)?).ok()?;
            value = value.checked_mul(85)?.checked_add(digit)?;
        }
        octets.extend(value.to_be_bytes());
    }
    Some(octets)
}
