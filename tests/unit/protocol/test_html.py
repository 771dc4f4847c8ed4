"""What HTML shows beyond its own octets, however it is written."""

from __future__ import annotations

import time

import pytest

from mssgw.protocol.mime import html

ORDINARY = {  # as Outlook, Outlook on the web, Thunderbird and Apple Mail write it
    "a picture of the message and a link": b'<p>x</p><img src="cid:a@b"><a href="https://x.test/?a=src=//b">',
    "the style of Outlook on the web": b'<style type="text/css" style="display:none;"> P {margin-top:0;margin-bottom:0;} </style>',
    "the style of Outlook": b'<style><!-- /* Font Definitions */ @font-face {font-family:"\\@MS Mincho"; panose-1:2 2;} '
    b"v\\:* {behavior:url(#default#VML);} p {font-size:11.0pt; font:10pt Arial; text-indent:-18.0pt; background-color:transparent} --></style>",
    "settings of Outlook": b'<!--[if gte mso 9]><xml><o:shapedefaults v:ext="edit" spidmax="1026" /></xml><![endif]-->',
    "a style for others than Outlook": b"<!--[if !mso]><style>v\\:* {behavior:url(#default#VML);}</style><![endif]-->",
    "a list of Word": b"<![if !supportLists]><span style='mso-list:Ignore'>-&nbsp;</span><![endif]>repos",
    "files of Word": b'<link rel="File-List" href="cid:filelist.xml@01">',
    "words": b"<p>once = twice, data = 3, hidden content: none</p>",
    "a picture in the text": b'<img src="data:image/png;base64,AAAA//BB">',
    "sizes": b'<div style="font-size:16px;font-size:1em;opacity:0.5;max-height:100px;content:normal;margin-left:-12px">x</div>',
    "a quotation": b'<blockquote type="cite" cite="mid:1@b.test"><pre class="moz-signature" cols="72">-- \n</pre></blockquote>',
}

LOADS = [
    b"<img src=http://x>",
    b'<IMG SRC="ht\ntps://x">',
    b'<img src="&#104;ttp://x">',
    b'<img src="http&colon;//x">',
    b"<img/src=//x>",
    b'<img src="\\\\srv\\a.png">',
    b"<img alt='\"' src='http://x'>",
    b'<img srcset="cid:a 1x, https://x 2x">',
    b'<p style="background:url(http://x)">',
    b'<p style="background:u\\72l(http://x)">',
    b'<p style="background:url&lpar;https://x)">',
    b'<style>@\\69mport "http://x"</style>',
    b'<style>@import "x.css"</style>',
    b'<link rel=stylesheet href="http://x">',
    b'<link title=">" rel=stylesheet href="http://x">',
    b'<base href="http://x/">',
    b'<script src="http://x"></script>',
    b"<iframe src=x>",
    b'<meta http-equiv="refresh" content="0;url=http://x">',
    b"<video poster=https://x>",
    b'<table background="http://x">',
    b'<svg><image xlink:href="https://x"/></svg>',
    b'<v:imagedata src="http://x" />',
]

HIDES = [
    b'<p style="display:none">x',
    b'<p style="DISPLAY : NONE">x',
    b'<p style="display:/**/none">x',
    b'<p style="dis\\70lay:none">x',
    b'<p style="display&#58;none">x',
    b'<p style="visibility:hidden">x',
    b'<span style="font-size:0">x',
    b'<span style="font-size:0px;">x',
    b'<span style="font-size:1px">x',
    b'<p style="opacity:0">x',
    b'<p style="color:transparent">x',
    b'<p style="position:absolute;left:-9999px">x',
    b'<p style="text-indent:-999px">x',
    b'<p style="max-height:0;overflow:hidden">x',
    b'<style>p::before{content:"50"}</style>',
    b"<p hidden>x",
    b"<script>document.write(50)</script>",
    b'<body onload="x()">',
    b"<bdo dir=rtl>gm 05</bdo>",
    b"<!--[if mso]>500 mg<![endif]-->",
    b"<!--[if !mso]><!-->50 mg<!--<![endif]-->",
    b"<!--[if mso]>500 mg",
]

PIECES = [
    b"<style ",
    b"<",
    b"&#",
    b"/*",
    b"\\",
    b"<!--[if",
    b"<!--[if a]><xml",
    b"src=",
    b"<link ",
    b" ",
    b"url(",
    b"<a hidde",
    b'srcset="',
    b"<p '",
    b"display ",
    b"&#0",
]


@pytest.mark.parametrize("text", ORDINARY.values(), ids=ORDINARY.keys())
def test_what_programs_write_loads_and_hides_nothing(text: bytes) -> None:
    assert (html.loads(text), html.hides(text)) == (False, False)


@pytest.mark.parametrize("text", LOADS)
def test_what_is_loaded_from_elsewhere_is_found_however_it_is_written(text: bytes) -> None:
    assert html.loads(text)


@pytest.mark.parametrize("text", HIDES)
def test_what_not_every_reader_shows_is_found_however_it_is_written(text: bytes) -> None:
    assert html.hides(text)


@pytest.mark.parametrize("piece", PIECES)
def test_a_huge_html_is_looked_through_in_time_that_grows_with_its_length(piece: bytes) -> None:
    """40,000 times one piece took minutes if a pattern began again at each of them."""
    begun = time.process_time()
    html.loads(piece * 40_000)
    html.hides(piece * 40_000)
    assert time.process_time() - begun < 2.0


def test_more_than_is_looked_through_is_taken_for_both() -> None:
    text = b"x" * (html.MOST + 1)
    assert html.loads(text)
    assert html.hides(text)
