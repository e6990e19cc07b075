//! Pictures without HTTP: decode, turn upright, shrink, encode as they came.

use std::io::Cursor;

use image::codecs::jpeg::JpegEncoder;
use image::imageops::FilterType;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};

/// The longest side that can be asked for.
pub const PIXELS_MAX: u32 = 4096;
/// A picture that needs more memory than this when decoded is refused.
pub const DECODED_BYTES_MAX: u64 = 192 * 1024 * 1024;
/// What is asked for when nothing is.
const WIDTH_DEFAULT: u32 = 320;
const JPEG_QUALITY: u8 = 85;

/// Why a picture was not made: a status and a sentence.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused {
    pub status: u16,
    pub why: String,
}

fn refused(status: u16, why: impl Into<String>) -> Refused {
    Refused { status, why: why.into() }
}

/// The size that is asked for, as it was written.
pub struct Size<'a> {
    pub width: Option<&'a str>,
    pub height: Option<&'a str>,
}

/// A box that the picture must fit into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fit {
    pub width: u32,
    pub height: u32,
}

impl Size<'_> {
    pub fn parse(&self) -> Result<Fit, Refused> {
        let side = |name: &str, text: Option<&str>| match text.map(str::parse) {
            None => Ok(None),
            Some(Ok(pixels)) if (1..=PIXELS_MAX).contains(&pixels) => Ok(Some(pixels)),
            Some(_) => Err(refused(400, format!("{name} is a number of pixels from 1 to {PIXELS_MAX}"))),
        };
        Ok(match (side("width", self.width)?, side("height", self.height)?) {
            (None, None) => Fit { width: WIDTH_DEFAULT, height: PIXELS_MAX },
            (width, height) => Fit { width: width.unwrap_or(PIXELS_MAX), height: height.unwrap_or(PIXELS_MAX) },
        })
    }
}

/// A picture, ready to be sent.
#[derive(Debug)]
pub struct Picture {
    pub content_type: &'static str,
    pub bytes: Vec<u8>,
}

/// The picture made to fit; never larger than it was.
pub fn resize(bytes: &[u8], fit: Fit) -> Result<Picture, Refused> {
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format();
    let mut reader = reader.map_err(|error| refused(400, error.to_string()))?;
    let format = match reader.format() {
        Some(format @ (ImageFormat::Jpeg | ImageFormat::Png)) => format,
        _ if bytes.is_empty() => return Err(refused(400, "the body is empty; send a JPEG or PNG")),
        _ => return Err(refused(415, "this is neither a JPEG nor a PNG")),
    };
    let mut limits = Limits::default();
    limits.max_alloc = Some(DECODED_BYTES_MAX);
    reader.limits(limits);
    let picture = decode(reader).map_err(|error| match error {
        image::ImageError::Limits(_) => refused(413, "the picture has too many pixels"),
        error => refused(400, format!("the picture is broken: {error}")),
    })?;
    let picture = if picture.width() > fit.width || picture.height() > fit.height {
        picture.resize(fit.width, fit.height, FilterType::Triangle)
    } else {
        picture
    };
    encode(picture, format).map_err(|error| refused(500, format!("the picture could not be written: {error}")))
}

fn decode(reader: ImageReader<Cursor<&[u8]>>) -> image::ImageResult<DynamicImage> {
    let mut decoder = reader.into_decoder()?;
    if decoder.total_bytes() > DECODED_BYTES_MAX {
        let kind = image::error::LimitErrorKind::InsufficientMemory;
        return Err(image::ImageError::Limits(image::error::LimitError::from_kind(kind)));
    }
    // Cameras store which way was up beside the pixels.
    let orientation = decoder.orientation()?;
    let mut picture = DynamicImage::from_decoder(decoder)?;
    picture.apply_orientation(orientation);
    Ok(picture)
}

fn encode(picture: DynamicImage, format: ImageFormat) -> image::ImageResult<Picture> {
    let mut bytes = Cursor::new(Vec::new());
    let content_type = if format == ImageFormat::Jpeg {
        // JPEG has neither transparency nor 16 bits.
        let picture =
            if picture.color().has_color() { picture.to_rgb8().into() } else { DynamicImage::from(picture.to_luma8()) };
        picture.write_with_encoder(JpegEncoder::new_with_quality(&mut bytes, JPEG_QUALITY))?;
        "image/jpeg"
    } else {
        picture.write_to(&mut bytes, ImageFormat::Png)?;
        "image/png"
    };
    Ok(Picture { content_type, bytes: bytes.into_inner() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(width: u32, height: u32, format: ImageFormat) -> Vec<u8> {
        let pixels = image::RgbImage::from_fn(width, height, |x, y| {
            image::Rgb([(x % 256) as u8, (y % 256) as u8, ((x + y) % 256) as u8])
        });
        let mut bytes = Cursor::new(Vec::new());
        pixels.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    fn size(bytes: &[u8]) -> (u32, u32, ImageFormat) {
        let picture = image::load_from_memory(bytes).unwrap();
        (picture.width(), picture.height(), image::guess_format(bytes).unwrap())
    }

    #[test]
    fn pictures_keep_their_kind_and_shape() {
        let wide = Fit { width: 320, height: PIXELS_MAX };
        let jpeg = resize(&picture(1600, 1000, ImageFormat::Jpeg), wide).unwrap();
        assert_eq!((jpeg.content_type, size(&jpeg.bytes)), ("image/jpeg", (320, 200, ImageFormat::Jpeg)));
        let png = resize(&picture(640, 1280, ImageFormat::Png), Fit { width: PIXELS_MAX, height: 128 }).unwrap();
        assert_eq!((png.content_type, size(&png.bytes)), ("image/png", (64, 128, ImageFormat::Png)));
    }

    #[test]
    fn small_pictures_stay_small() {
        let png = resize(&picture(40, 30, ImageFormat::Png), Fit { width: 320, height: 320 }).unwrap();
        assert_eq!(size(&png.bytes), (40, 30, ImageFormat::Png));
    }

    #[test]
    fn cameras_orientation_is_applied() {
        // An Exif block that says "turned by 90 degrees", put after the start of the image.
        let mut exif =
            b"\xff\xe1\x00\x22Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0".to_vec();
        let plain = picture(80, 40, ImageFormat::Jpeg);
        let mut turned = plain[..2].to_vec();
        turned.append(&mut exif);
        turned.extend(&plain[2..]);
        let jpeg = resize(&turned, Fit { width: 320, height: 320 }).unwrap();
        assert_eq!(size(&jpeg.bytes), (40, 80, ImageFormat::Jpeg));
    }

    #[test]
    fn what_is_no_picture_is_refused() {
        let fit = Fit { width: 1, height: 1 };
        assert_eq!(resize(b"", fit).unwrap_err().status, 400);
        assert_eq!(resize(b"GIF89a....", fit).unwrap_err().status, 415);
        let broken = &picture(100, 100, ImageFormat::Png)[..200];
        assert_eq!(resize(broken, fit).unwrap_err().status, 400);
    }

    #[test]
    fn a_picture_that_would_not_fit_into_memory_is_refused() {
        // A PNG's head may claim any size.
        let mut bomb = picture(1, 1, ImageFormat::Png);
        bomb[16..24].copy_from_slice(&[0, 0, 0x80, 0, 0, 0, 0x80, 0]);
        let crc = crc(&bomb[12..29]).to_be_bytes();
        bomb[29..33].copy_from_slice(&crc);
        assert_eq!(resize(&bomb, Fit { width: 1, height: 1 }).unwrap_err().status, 413);
    }

    fn crc(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(u32::MAX, |crc, byte| {
            (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 })
        })
    }

    #[test]
    fn sizes_are_checked() {
        let parse = |width, height| Size { width, height }.parse();
        assert_eq!(parse(None, None), Ok(Fit { width: 320, height: PIXELS_MAX }));
        assert_eq!(parse(Some("64"), Some("32")), Ok(Fit { width: 64, height: 32 }));
        for wrong in ["0", "-1", "4097", "wide", ""] {
            assert_eq!(parse(Some(wrong), None).unwrap_err().status, 400, "{wrong}");
        }
    }
}
