//! Generated images of digits: a realistic task without a download.
//!
//! Each image is a form of its digit with its points jittered. It is rotated, sheared, stretched
//! and shifted, drawn with a pen of some width and strength, and given noise. Only sums, products
//! and square roots are used, which all machines round alike: the same seed generates the same
//! images.

use super::dataset::{Dataset, Inputs, Scaling};
use super::error::DataError;
use super::strokes::{FORMS, Point, Stroke};
use crate::batch::Targets;
use crate::random::Random;

/// Width and height of an image in pixels.
pub const DIGIT_PIXELS: usize = 28;
/// Line segments of a curve between two points.
const SEGMENTS: usize = 5;
/// Upper limit of generated images, about as many bytes as a file may have.
const ROWS_MAX: usize = 10_000_000;

/// Generates images of digits, shape `[28, 28]`, dark on an empty background. Each digit is equally
/// frequent.
///
/// Images are the same on every machine. Each depends on its row and the seed only, so more rows
/// extend the dataset.
///
/// # Errors
/// `TooFew` for no rows, `Misfit` for more than ten million.
pub fn digits(rows: usize, seed: u64) -> Result<Dataset, DataError> {
    let name = format!("{rows} digits of seed {seed}");
    if rows == 0 {
        let problem = "at least 1 digit must be generated".to_owned();
        return Err(DataError::TooFew { data: name, rows, problem });
    }
    if rows > ROWS_MAX {
        let problem = format!("at most {ROWS_MAX} digits can be generated");
        return Err(DataError::Misfit { data: name, problem });
    }
    let mut pixels = Vec::with_capacity(rows * DIGIT_PIXELS * DIGIT_PIXELS);
    let mut classes = Vec::with_capacity(rows);
    for row in 0..rows {
        let digit = row % FORMS.len();
        pixels.extend_from_slice(&draw(digit, &mut Random::of(&[seed, row as u64])));
        classes.push(digit as u32);
    }
    let shape = [DIGIT_PIXELS; 2];
    let data = Dataset::new(&name, &shape, Inputs::Bytes(pixels), Targets::Classes(classes))?;
    Ok(data.scaled(Scaling { scale: 1.0 / 255.0, offset: 0.0 }))
}

type Image = [u8; DIGIT_PIXELS * DIGIT_PIXELS];

fn draw(digit: usize, random: &mut Random) -> Image {
    let forms = FORMS[digit];
    let form = forms[random.below(forms.len())];
    let writing = Handwriting::new(random);
    let mut ink = [0.0_f32; DIGIT_PIXELS * DIGIT_PIXELS];
    for stroke in form {
        let line = writing.line(stroke, random);
        for ends in line.windows(2) {
            writing.draw_line(&mut ink, ends[0], ends[1]);
        }
    }
    let grain = random.between(0.0, 0.12);
    ink.map(|ink| {
        // Paper has less grain than ink.
        let noise = random.normal() * grain * (0.25 + 0.75 * ink);
        let value = (ink + noise).clamp(0.0, 1.0) * 255.0;
        // Faint grain is cut off, so that most of the paper is empty.
        if value < 12.0 { 0 } else { value.round() as u8 }
    })
}

/// Handwriting of one image.
struct Handwriting {
    /// Maps the unit square to pixels: x and y of each axis, then the centre.
    across: Point,
    down: Point,
    centre: Point,
    /// Half the pen's width, in pixels.
    radius: f32,
    strength: f32,
    /// Standard deviation of the jitter of points, in units of the square.
    jitter: f32,
}

impl Handwriting {
    fn new(random: &mut Random) -> Self {
        let height = random.between(15.0, 22.0);
        let width = height * random.between(0.55, 1.0);
        // Rotation by a small angle: its tangent suffices, and the square root normalizes it.
        let tangent = random.between(-0.3, 0.3);
        let cosine = 1.0 / (1.0 + tangent * tangent).sqrt();
        let sine = tangent * cosine;
        let shear = random.between(-0.25, 0.25);
        let middle = DIGIT_PIXELS as f32 / 2.0;
        Self {
            across: (width * cosine, width * sine),
            down: (height * (shear * cosine - sine), height * (cosine + shear * sine)),
            centre: (middle + random.between(-2.5, 2.5), middle + random.between(-2.5, 2.5)),
            radius: random.between(0.6, 1.7),
            strength: random.between(0.65, 1.0),
            jitter: random.between(0.01, 0.05),
        }
    }

    /// Pixel positions along a stroke, connected by straight lines.
    fn line(&self, stroke: &Stroke, random: &mut Random) -> Vec<Point> {
        let mut jittered = |(x, y): &Point| {
            let (x, y) = (x + random.normal() * self.jitter, y + random.normal() * self.jitter);
            self.place((x - 0.5, y - 0.5))
        };
        let points: Vec<Point> = stroke.points.iter().map(&mut jittered).collect();
        if stroke.smooth { spline(&points) } else { points }
    }

    fn place(&self, (x, y): Point) -> Point {
        let at = |across: f32, down: f32, centre: f32| x * across + y * down + centre;
        (
            at(self.across.0, self.down.0, self.centre.0),
            at(self.across.1, self.down.1, self.centre.1),
        )
    }

    /// Draws a line segment.
    fn draw_line(&self, ink: &mut [f32], from: Point, to: Point) {
        let reach = self.radius + 1.0;
        let range = |a: f32, b: f32| {
            let last = DIGIT_PIXELS as f32;
            let low = (a.min(b) - reach).clamp(0.0, last) as usize;
            low..(a.max(b) + reach).clamp(0.0, last) as usize
        };
        for y in range(from.1, to.1) {
            for x in range(from.0, to.0) {
                let far = distance((x as f32 + 0.5, y as f32 + 0.5), from, to);
                let covered = (self.radius + 0.5 - far).clamp(0.0, 1.0) * self.strength;
                let pixel = &mut ink[y * DIGIT_PIXELS + x];
                *pixel = pixel.max(covered);
            }
        }
    }
}

/// A smooth curve through points: the spline of Catmull and Rom (1974).
fn spline(points: &[Point]) -> Vec<Point> {
    let mut line = Vec::with_capacity(points.len() * SEGMENTS + 1);
    line.extend(points.first());
    for at in 1..points.len() {
        let (start, end) = (points[at - 1], points[at]);
        let before = if at > 1 { points[at - 2] } else { start };
        let after = points.get(at + 1).copied().unwrap_or(end);
        for segment in 1..=SEGMENTS {
            let t = segment as f32 / SEGMENTS as f32;
            let mix = |p: f32, a: f32, b: f32, n: f32| {
                let (slope, square, cube) =
                    (b - p, 2.0 * p - 5.0 * a + 4.0 * b - n, 3.0 * (a - b) + n - p);
                a + 0.5 * t * (slope + t * (square + t * cube))
            };
            line.push((
                mix(before.0, start.0, end.0, after.0),
                mix(before.1, start.1, end.1, after.1),
            ));
        }
    }
    line
}

/// Distance from a point to the nearest point of a line segment.
fn distance(point: Point, from: Point, to: Point) -> f32 {
    let (dx, dy) = (to.0 - from.0, to.1 - from.1);
    let (px, py) = (point.0 - from.0, point.1 - from.1);
    let length = (dx * dx + dy * dy).max(1e-9);
    let along = ((px * dx + py * dy) / length).clamp(0.0, 1.0);
    let (x, y) = (px - along * dx, py - along * dy);
    (x * x + y * y).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pixels(data: &Dataset) -> &[u8] {
        let Inputs::Bytes(pixels) = data.inputs() else { panic!("pixels are bytes") };
        pixels
    }

    #[test]
    fn images_depend_on_the_seed_and_the_row_only() {
        let few = digits(30, 1).unwrap();
        assert_eq!(pixels(&few), &pixels(&digits(50, 1).unwrap())[..30 * 784]);
        assert_ne!(pixels(&few), pixels(&digits(30, 2).unwrap()));
        // Every machine and every version generates these images.
        let sum: u64 = pixels(&few).iter().map(|pixel| u64::from(*pixel)).sum();
        assert_eq!(sum, 565_256);
        assert!(digits(0, 1).is_err() && digits(usize::MAX, 1).is_err());
    }

    #[test]
    fn images_look_like_images() {
        let data = digits(1000, 3).unwrap();
        assert_eq!((data.shape(), data.classes()), (&[28, 28][..], Some(10)));
        for (row, image) in pixels(&data).chunks(784).enumerate() {
            let inked = image.iter().filter(|pixel| **pixel > 100).count();
            assert!((15..400).contains(&inked), "row {row}: {inked} of 784 pixels are dark");
        }
        let Targets::Classes(classes) = data.targets() else { panic!("labels are classes") };
        let each: Vec<usize> =
            (0..10).map(|digit| classes.iter().filter(|class| **class == digit).count()).collect();
        assert_eq!(each, [100; 10]);
    }

    #[test]
    fn no_two_images_are_the_same() {
        let data = digits(1000, 4).unwrap();
        let images: std::collections::HashSet<_> = pixels(&data).chunks(784).collect();
        assert_eq!(images.len(), 1000);
    }
}
