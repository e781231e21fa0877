//! The picture: positions across, errors up, both by their logarithms.

use super::{Angles, AnglesError, Method, Point};
use crate::map::{Canvas, SCALE, TEXT};
use crate::render::power_of_10;
use flashlet::math::SIN_COS_ERROR;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// From the upper left corner, to the right and down, in halves of a pixel: plotters knows integers only.
type Place = (i32, i32);

/// The picture's width and height.
const SIZE: Place = (1400, 924);
/// The corners of what the lines are drawn in: title and legend above, axes on the left and below.
const FRAME: [Place; 2] = [(132, 276), (1364, 828)];
/// Labelled positions, and lengths of contexts that models have; logarithms to base 2.
const POSITIONS: [i32; 7] = [0, 10, 15, 20, 25, 30, 32];
const CONTEXTS: [i32; 3] = [12, 17, 20];
/// Positions from the left to the right.
const OCTAVES: [f64; 2] = [0.0, 32.0];
/// Errors from below to above, logarithms to base 10: two numbers between -1 and 1 are at most 2 apart.
const DECADES: [f64; 2] = [-9.0, std::f64::consts::LOG10_2];
/// Width of all lines but those of the errors.
const THIN: u32 = 2;

impl Method {
    /// Of its line.
    fn style(self) -> ShapeStyle {
        match self {
            Method::Recurrence => SCALE[3].stroke_width(4),
            Method::Tables => SCALE[2].stroke_width(4),
            Method::Double => TEXT.mix(0.4).stroke_width(4),
            Method::Exact => SCALE[4].stroke_width(6),
        }
    }
}

impl Angles {
    /// The picture of a [`Angles::curve`], as SVG.
    ///
    /// # Errors
    /// None that is known: the picture is text in memory.
    pub fn svg(&self, curve: &[Point]) -> Result<String, AnglesError> {
        let size = [SIZE.0, SIZE.1].map(|length| length as u32);
        let mut text = String::new();
        {
            let canvas = SVGBackend::with_string(&mut text, size.into()).into_drawing_area();
            canvas.fill(&WHITE).map_err(failed)?;
            let pencil = Pencil(&canvas);
            pencil.title(self)?;
            pencil.legend()?;
            pencil.marks()?;
            pencil.axes()?;
            for (n, method) in Method::ALL.into_iter().enumerate() {
                pencil.line(curve.iter().map(|point| point.place(n)).collect(), method.style())?;
            }
            canvas.present().map_err(failed)?;
        }
        let header = |[width, height]: [u32; 2]| format!("width=\"{width}\" height=\"{height}\"");
        let command = format!("--base {} --rot-dim {}", self.base, self.rot_dim());
        let about = format!("<desc>cargo kernels angles {command}: do not edit</desc>\n<rect");
        let text = text.replacen(&header(size), &header(size.map(|length| length / 2)), 1);
        Ok(text.replacen("\n<rect", &about, 1))
    }
}

impl Point {
    /// Where the error of a method is drawn: in the middle of the positions.
    fn place(&self, method: usize) -> Place {
        let [first, last] = self.positions.map(|position| f64::from(position).log2());
        place(first.midpoint(last), self.errors[method].log10())
    }
}

/// Where the frame has `2^octave` and `10^decade`.
fn place(octave: f64, decade: f64) -> Place {
    let [(left, top), (right, bottom)] = FRAME;
    let between = |[from, to]: [f64; 2], [a, b]: [i32; 2], x: f64| {
        let share = (x.clamp(from, to) - from) / (to - from);
        (f64::from(a) + share * f64::from(b - a)).round() as i32
    };
    (between(OCTAVES, [left, right], octave), between(DECADES, [bottom, top], decade))
}

/// Draws the parts of the picture.
struct Pencil<'a, 'b>(&'a Canvas<'b>);

impl Pencil<'_, '_> {
    fn title(&self, angles: &Angles) -> Result<(), AnglesError> {
        let (rot_dim, x) = (angles.rot_dim(), FRAME[0].0);
        let subtitle = format!(
            "largest |computed - exact| of all {} pairs; base {}, rot_dim {rot_dim}",
            rot_dim / 2,
            angles.base
        );
        let title = font(38).style(FontStyle::Bold).color(&TEXT);
        self.text("How far cos and sin of rotary positions are off", (x, 40), HPos::Left, title)?;
        self.text(&subtitle, (x, 92), HPos::Left, font(25).color(&TEXT))
    }

    /// What the lines are: the others on the left, flashlet on the right.
    fn legend(&self) -> Result<(), AnglesError> {
        let [(left, top), _] = FRAME;
        let place = |column, row| (left + column * 664, top - 134 + row * 36);
        let places = [place(0, 0), place(0, 1), place(0, 2), place(1, 0)];
        let text =
            |text: &str, (x, y)| self.text(text, (x + 60, y), HPos::Left, font(25).color(&TEXT));
        for (method, (x, y)) in Method::ALL.into_iter().zip(places) {
            self.line(vec![(x, y), (x + 44, y)], method.style())?;
            text(method.name(), (x, y))?;
        }
        let (x, y) = place(1, 1);
        self.dashes([x, x + 44], y)?;
        text(&format!("what it promises: {}", decimal(SIN_COS_ERROR)), (x, y))
    }

    /// The contexts of models, and what flashlet promises.
    fn marks(&self) -> Result<(), AnglesError> {
        let [(left, top), (right, bottom)] = FRAME;
        for n in CONTEXTS {
            let ((x, _), grey) = (place(f64::from(n), 0.0), TEXT.mix(0.7));
            self.line(vec![(x, top), (x, bottom)], TEXT.mix(0.3).stroke_width(THIN))?;
            self.text(&power_of_2(n), (x, top - 18), HPos::Center, font(24).color(&grey))?;
        }
        let (_, y) = place(0.0, SIN_COS_ERROR.log10());
        self.dashes([left, right], y)
    }

    fn dashes(&self, [left, right]: [i32; 2], y: i32) -> Result<(), AnglesError> {
        for x in (left..right).step_by(16) {
            self.line(vec![(x, y), (right.min(x + 10), y)], TEXT.stroke_width(THIN))?;
        }
        Ok(())
    }

    fn axes(&self) -> Result<(), AnglesError> {
        let [(left, top), (right, bottom)] = FRAME;
        let (label, name) = (font(24).color(&TEXT), font(25).color(&TEXT));
        let axis = TEXT.mix(0.5).stroke_width(THIN);
        for n in DECADES[0] as i32..=0 {
            let (_, y) = place(0.0, f64::from(n));
            self.line(vec![(left, y), (right, y)], TEXT.mix(0.1).stroke_width(THIN))?;
            self.line(vec![(left - 10, y), (left, y)], axis)?;
            self.text(&power_of_10(&n.to_string()), (left - 18, y), HPos::Right, label.clone())?;
        }
        for n in POSITIONS {
            let (x, _) = place(f64::from(n), 0.0);
            self.line(vec![(x, bottom), (x, bottom + 10)], axis)?;
            self.text(&power_of_2(n), (x, bottom + 30), HPos::Center, label.clone())?;
        }
        self.line(vec![(left, top), (left, bottom), (right, bottom)], axis)?;
        self.text("position", ((left + right) / 2, bottom + 68), HPos::Center, name.clone())?;
        let name = name.transform(FontTransform::Rotate270);
        self.text("error", (28, (top + bottom) / 2), HPos::Center, name)
    }

    fn line(&self, places: Vec<Place>, style: ShapeStyle) -> Result<(), AnglesError> {
        self.0.draw(&PathElement::new(places, style)).map_err(failed)
    }

    /// A text whose middle, or one of its ends, is at a place.
    fn text(&self, text: &str, at: Place, side: HPos, style: TextStyle) -> Result<(), AnglesError> {
        let style = style.pos(Pos::new(side, VPos::Center));
        self.0.draw(&Text::new(text, at, style)).map_err(failed)
    }
}

/// A font of a height. Plotters divides what it is told by 1.24.
fn font(height: i32) -> FontDesc<'static> {
    ("sans-serif", 1.24 * f64::from(height)).into_font()
}

/// `2^n` with the prefixes of computers: 4K is 4096.
fn power_of_2(n: i32) -> String {
    let prefix = ["", "K", "M", "G"][n as usize / 10];
    format!("{}{prefix}", 1 << (n % 10))
}

/// A number as it is written: 10⁻⁷ or 4 × 10⁻⁸.
fn decimal(x: f64) -> String {
    let shown = format!("{x:e}");
    match shown.split_once('e') {
        Some(("1", exponent)) => power_of_10(exponent),
        Some((digits, exponent)) => format!("{digits} × {}", power_of_10(exponent)),
        None => shown,
    }
}

fn failed(error: impl std::fmt::Display) -> AnglesError {
    AnglesError::Canvas(error.to_string())
}
