"""Rules of text messages: telephone numbers and their countries, and how many segments a text takes.

Pure.  Numbers are those of ITU-T E.164, the alphabet is that of 3GPP TS 23.038 (GSM-7).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from ..errors import InvalidInputError

#: Of GSM-7: characters of one septet, and those of two.
_GSM = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿"
    "abcdefghijklmnopqrstuvwxyzäöñüà"
)
_GSM_TWICE = frozenset("\f^{}\\[~]|€")
#: Typographic characters that GSM-7 lacks, and what says the same in it.
_PLAIN: Mapping[int, str] = str.maketrans(
    {
        **dict.fromkeys("‘’‚‛′`´", "'"),
        **dict.fromkeys("“”„‟″«»", '"'),
        **dict.fromkeys("‐‑‒–—―−", "-"),
        **dict.fromkeys("\t\u00a0\u2002\u2003\u2009\u202f", " "),
        **dict.fromkeys("\u00ad\u200b\ufeff", ""),
        "…": "...",
        "•": "-",
    }
)
#: Septets, or UTF-16 units, of a message of one segment, and of each segment of a longer one.
_GSM_SIZES, _UCS2_SIZES = (160, 153), (70, 67)

_SEPARATORS = re.compile(r"[ \u00a0\u2009\u202f./()-]+")
#: 7 digits are the shortest numbers in use, with the country's code; E.164 allows 15.
_NUMBER = re.compile(r"\+[1-9][0-9]{6,14}")
#: Calling codes and the countries (ISO 3166-1) that share them; codes without one, such as satellites, have none.
_CODES: Mapping[str, frozenset[str]] = {
    code: frozenset(filter(None, countries.split(",")))
    for code, _, countries in (
        entry.partition("=")
        for entry in """
        1=US,CA 1242=BS 1246=BB 1264=AI 1268=AG 1284=VG 1340=VI 1345=KY 1441=BM 1473=GD 1649=TC 1658=JM 1664=MS
        1670=MP 1671=GU 1684=AS 1721=SX 1758=LC 1767=DM 1784=VC 1787=PR 1809=DO 1829=DO 1849=DO 1868=TT 1869=KN
        1876=JM 1900 1939=PR
        20=EG 211=SS 212=MA,EH 213=DZ 216=TN 218=LY 220=GM 221=SN 222=MR 223=ML 224=GN 225=CI 226=BF 227=NE 228=TG
        229=BJ 230=MU 231=LR 232=SL 233=GH 234=NG 235=TD 236=CF 237=CM 238=CV 239=ST 240=GQ 241=GA 242=CG 243=CD
        244=AO 245=GW 246=IO 247=AC 248=SC 249=SD 250=RW 251=ET 252=SO 253=DJ 254=KE 255=TZ 256=UG 257=BI 258=MZ
        260=ZM 261=MG 262=RE,YT 263=ZW 264=NA 265=MW 266=LS 267=BW 268=SZ 269=KM 27=ZA 290=SH,TA 291=ER 297=AW
        298=FO 299=GL
        30=GR 31=NL 32=BE 33=FR 34=ES 350=GI 351=PT 352=LU 353=IE 354=IS 355=AL 356=MT 357=CY 358=FI,AX 359=BG
        36=HU 370=LT 371=LV 372=EE 373=MD 374=AM 375=BY 376=AD 377=MC 378=SM 380=UA 381=RS 382=ME 383=XK 385=HR
        386=SI 387=BA 389=MK 39=IT,VA
        40=RO 41=CH 420=CZ 421=SK 423=LI 43=AT 44=GB,GG,IM,JE 45=DK 46=SE 47=NO,SJ 48=PL 49=DE
        500=FK 501=BZ 502=GT 503=SV 504=HN 505=NI 506=CR 507=PA 508=PM 509=HT 51=PE 52=MX 53=CU 54=AR 55=BR 56=CL
        57=CO 58=VE 590=GP,BL,MF 591=BO 592=GY 593=EC 594=GF 595=PY 596=MQ 597=SR 598=UY 599=CW,BQ
        60=MY 61=AU,CC,CX 62=ID 63=PH 64=NZ 65=SG 66=TH 670=TL 672=NF,AQ 673=BN 674=NR 675=PG 676=TO 677=SB 678=VU
        679=FJ 680=PW 681=WF 682=CK 683=NU 685=WS 686=KI 687=NC 688=TV 689=PF 690=TK 691=FM 692=MH
        7=RU 76=KZ 77=KZ
        800 808 81=JP 82=KR 84=VN 850=KP 852=HK 853=MO 855=KH 856=LA 86=CN 870 878 880=BD 881 882 883 886=TW 888
        90=TR 91=IN 92=PK 93=AF 94=LK 95=MM 960=MV 961=LB 962=JO 963=SY 964=IQ 965=KW 966=SA 967=YE 968=OM 970=PS
        971=AE 972=IL 973=BH 974=QA 975=BT 976=MN 977=NP 979 98=IR 992=TJ 993=TM 994=AZ 995=GE 996=KG 998=UZ
        """.split()  # noqa: SIM905 - two hundred literals are harder to read
    )
}
#: The reason of text messages that exceed the cap of their country (:mod:`~notifykit.policies.sms_caps`).
COUNTRY_CAPPED = "country_capped"
#: ISO 3166-1 codes of all countries that have a calling code.
COUNTRIES: frozenset[str] = frozenset().union(*_CODES.values())


class Segments(NamedTuple):
    """How a text is sent.

    Attributes:
        total: How many SMS it takes; each is paid for.
        outside_gsm: The first character that GSM-7 lacks: it makes the whole text UCS-2, with less than half the
            room.
    """

    total: int
    outside_gsm: str | None


def segments(text: str) -> Segments:
    """Return how many SMS a text takes; a character of two units is never split."""
    outside = next((sign for sign in text if sign not in _GSM and sign not in _GSM_TWICE), None)
    single, each = _GSM_SIZES if outside is None else _UCS2_SIZES
    sizes = [_size(sign, outside is None) for sign in text]
    if sum(sizes) <= single:
        return Segments(1, outside)
    count, room = 1, each
    for size in sizes:
        if size > room:
            count, room = count + 1, each
        room -= size
    return Segments(count, outside)


def _size(sign: str, is_gsm: bool) -> int:
    return 2 if (sign in _GSM_TWICE if is_gsm else sign > "\uffff") else 1


def plain(text: str) -> str:
    """Return ``text`` with typographic quotes, dashes and blanks replaced, if it fits into GSM-7 then.

    A text that needs UCS-2 for other characters stays as it is, because nothing would be saved.
    """
    replaced = text.translate(_PLAIN)
    return text if segments(replaced).outside_gsm else replaced


def canonical_number(address: str) -> str:
    """Return the canonical form of a telephone number: ``+`` and digits (E.164); separators are removed.

    Raises:
        InvalidInputError: It is no international number.
    """
    address = address.strip()
    if not address.startswith("+"):
        raise _refused("must begin with + and the country's calling code, such as +49 1512 3456789")
    if "(0)" in address:
        raise _refused("has a (0), which is not dialled after the country's calling code: leave it out")
    number = _SEPARATORS.sub("", address)
    if not _NUMBER.fullmatch(number):
        raise _refused("must be + and 7 to 15 digits, such as +4915123456789")
    if _code_of(number) is None:
        raise _refused("begins with a calling code that no country has")
    return number


def countries_of(number: str) -> frozenset[str]:
    """Return the countries (ISO 3166-1) that a number in canonical form may belong to.

    Countries that share a calling code, such as ``US`` and ``CA``, are not told apart.  Satellite networks and
    premium-rate numbers belong to none.
    """
    return _CODES.get(_code_of(number) or "", frozenset())


def _code_of(number: str) -> str | None:
    """Return the longest calling code that the number begins with."""
    return next((code for end in (5, 4, 3, 2) if (code := number[1:end]) in _CODES), None)


def _refused(why: str) -> InvalidInputError:
    return InvalidInputError([f"address: {why}"])
