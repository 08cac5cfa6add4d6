# SPDX-License-Identifier: MIT
"""Draws CPU per message over the number of connections as SVG, by hand: no plotting library to install."""
import math
import os
from xml.sax.saxutils import escape

import plan_net

WIDTH, HEIGHT = 760, 460
LEFT, RIGHT, TOP, BOTTOM = 64, 120, 56, 84  # what the axes leave free
LABEL_APART = 17
STYLES = {  # colours that the colour-blind tell apart too; torc's lines are the thick ones
    'torc': ('#d55e00', 3, '', 'torc, tasks'),
    'torc handler': ('#e69f00', 3, '', 'torc, handler'),
    'floor': ('#000000', 1.5, '6 4', 'floor'),
    'epoll': ('#0072b2', 1.5, '', 'epoll'),
    'tokio': ('#009e73', 1.5, '', 'tokio'),
    'monoio': ('#cc79a7', 1.5, '', 'monoio'),
}


def series_of(view):
    """{server: [(connections, CPU in us per message)]}, each the best of its rounds."""
    out = {}
    for server in plan_net.PLOTTED:
        names = [(size, plan_net.growth_name(server, size)) for size in plan_net.SIZES]
        points = [(size, view.best(name) / 1000) for size, name in names if name in view.values]
        if points:
            out[server] = points
    return out


def marks_of(least, most):
    """The marks of the y axis, which enclose both: the first below the least and the first above the most, and between."""
    low = 10 ** math.floor(math.log10(least))
    marks = [low * 10 ** power * digit for power in range(6) for digit in (1, 1.5, 2, 3, 5, 7)]
    first = max(i for i, mark in enumerate(marks) if mark <= least)
    last = min(i for i, mark in enumerate(marks) if mark >= most and i > first)
    return marks[first:last + 1]


def apart(wanted, least, lowest):
    """Moves the label heights {name: y} so that none lies on another, and none below LOWEST."""
    placed, last = {}, -math.inf
    for name, y in sorted(wanted.items(), key=lambda item: item[1]):
        last = placed[name] = max(y, last + least)
    floor = lowest
    for name in sorted(placed, key=placed.get, reverse=True):
        placed[name] = min(placed[name], floor)
        floor = placed[name] - least
    return placed


class Drawing:
    """Both axes are logarithmic: the same ratio is the same distance everywhere."""

    def __init__(self, marks, title, machine):
        self.marks = marks
        self.out = [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" '
            'font-family="sans-serif" font-size="13">',
            f'<title>{escape(title)}</title>',
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>']
        self.text(LEFT, 28, title, size=16)
        self.text(LEFT, HEIGHT - 12, machine, size=11, colour='#666666')
        self.axes()

    @staticmethod
    def x(connections):
        first, last = (math.log10(s) for s in (plan_net.SIZES[0], plan_net.SIZES[-1]))
        return LEFT + (WIDTH - LEFT - RIGHT) * (math.log10(connections) - first) / (last - first)

    def y(self, value):
        first, last = math.log10(self.marks[0]), math.log10(self.marks[-1])
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (math.log10(value) - first) / (last - first)

    def text(self, x, y, text, anchor='start', size=13, colour='#222222', more=''):
        self.out.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{colour}" '
                        f'{more}>{escape(text)}</text>')

    def line(self, x1, y1, x2, y2, colour):
        self.out.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"/>')

    def axes(self):
        right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
        for mark in self.marks:
            y = self.y(mark)
            self.line(LEFT, y, right, y, '#dddddd' if y < bottom else '#222222')
            self.text(LEFT - 8, y + 4, f'{mark:g}', 'end')
        for size in plan_net.SIZES:
            self.line(self.x(size), TOP, self.x(size), bottom, '#eeeeee')
            self.line(self.x(size), bottom, self.x(size), bottom + 5, '#222222')
            self.text(self.x(size), bottom + 20, f'{size:,}', 'middle')
        self.text((LEFT + right) / 2, bottom + 42, 'connections, each with one 64-byte message in flight',
                  'middle')
        self.text(0, 0, 'server CPU, µs per message', 'middle',
                  more=f'transform="translate(20 {(TOP + bottom) / 2:.1f}) rotate(-90)"')

    def curves(self, series):
        ends = {name: self.y(points[-1][1]) for name, points in series.items()}
        labels = apart(ends, LABEL_APART, HEIGHT - BOTTOM)
        for name in reversed(list(series)):  # torc's on top
            colour, width, dashes, label = STYLES[name]
            at = [(self.x(n), self.y(v)) for n, v in series[name]]
            path = ' '.join(f'{x:.1f},{y:.1f}' for x, y in at)
            self.out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}" '
                            f'stroke-dasharray="{dashes or "none"}"/>')
            self.out += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in at]
            self.line(at[-1][0] + 4, at[-1][1], WIDTH - RIGHT + 14, labels[name], '#bbbbbb')
            self.text(WIDTH - RIGHT + 17, labels[name] + 4, label, colour=colour)

    def svg(self):
        return '\n'.join([*self.out, '</svg>']) + '\n'


def write(path, views, machine):
    """Returns why there is nothing to draw, or None."""
    view = next((v for v in views if v.row.match.get('bench') == 'growth'), None)
    series = series_of(view) if view else {}
    if not series:
        return f'{path}: not drawn: nothing was measured'
    values = [value for points in series.values() for _, value in points]
    marks = marks_of(min(values), max(values))
    drawing = Drawing(marks, 'What one echoed message costs the server (both axes logarithmic)', machine)
    drawing.curves(series)
    folder = os.path.dirname(path)
    if folder:
        os.makedirs(folder, exist_ok=True)
    with open(path, 'w', encoding='utf-8') as f:
        f.write(drawing.svg())
    return None
