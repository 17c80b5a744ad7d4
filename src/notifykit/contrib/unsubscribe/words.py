"""What the page says, in the languages that it knows."""

from __future__ import annotations

import re
from collections.abc import Mapping

from notifykit.models.messages import title_of
from notifykit.models.preferences import Purpose
from notifykit.models.unsubscribe import UnsubscribeScope

#: By language: the sentences, and how the channels are called in them.  ``*`` is any other channel, or all.
WORDS: Mapping[str, Mapping[str, str]] = {
    "en": {
        "title": "Unsubscribe",
        "ask": "Stop {what}?",
        "stop": "Unsubscribe",
        "stop_all": "Stop all marketing",
        "stopped": "You will get no more {what}.",
        "undo": "Undo",
        "undone": "Undone. You are subscribed again.",
        "invalid": "This link does not work. It may be incomplete or too old: please use the link of a newer message.",
        "failed": "This did not work, and nothing was changed. Please try again later.",
        "about": "{channel} about “{name}”",
        "topic": "{what} on the topic “{name}”",
        "marketing": "marketing {channel}",
        "transactional": "service {channel}",
        "all": "marketing",
        "email": "e-mails",
        "sms": "text messages",
        "push": "notifications",
        "*": "messages",
    },
    "de": {
        "title": "Abmelden",
        "ask": "Keine {what} mehr erhalten?",
        "stop": "Abmelden",
        "stop_all": "Alle Werbung abmelden",
        "stopped": "Sie erhalten keine {what} mehr.",
        "undo": "Rückgängig machen",
        "undone": "Rückgängig gemacht. Sie sind wieder angemeldet.",
        "invalid": "Dieser Link funktioniert nicht. Er ist unvollständig oder zu alt: Bitte nehmen Sie den Link einer "
        "neueren Nachricht.",
        "failed": "Das hat nicht funktioniert, es wurde nichts geändert. Bitte versuchen Sie es später noch einmal.",
        "about": "{channel} zu „{name}“",
        "topic": "{what} zum Thema „{name}“",
        "marketing": "Werbe-{channel}",
        "transactional": "Service-{channel}",
        "all": "Werbung",
        "email": "E-Mails",
        "sms": "SMS",
        "push": "Mitteilungen",
        "*": "Nachrichten",
    },
    "es": {
        "title": "Darse de baja",
        "ask": "¿Dejar de recibir {what}?",
        "stop": "Darse de baja",
        "stop_all": "Dejar de recibir toda la publicidad",
        "stopped": "Ya no recibirá {what}.",
        "undo": "Deshacer",
        "undone": "Deshecho. Su suscripción vuelve a estar activa.",
        "invalid": "Este enlace no funciona. Puede estar incompleto o ser demasiado antiguo: use el enlace de un "
        "mensaje más reciente.",
        "failed": "No ha funcionado y no se ha cambiado nada. Inténtelo de nuevo más tarde.",
        "about": "{channel} sobre «{name}»",
        "topic": "{what} sobre el tema «{name}»",
        "marketing": "{channel} de publicidad",
        "transactional": "{channel} de servicio",
        "all": "publicidad",
        "email": "correos",
        "sms": "SMS",
        "push": "notificaciones",
        "*": "mensajes",
    },
    "fr": {
        "title": "Se désabonner",
        "ask": "Ne plus recevoir {what} ?",
        "stop": "Se désabonner",
        "stop_all": "Ne plus recevoir de publicité",
        "stopped": "Vous ne recevrez plus {what}.",
        "undo": "Annuler",
        "undone": "C’est annulé. Votre abonnement est de nouveau actif.",
        "invalid": "Ce lien ne fonctionne pas. Il est incomplet ou trop ancien : utilisez le lien d’un message plus "
        "récent.",
        "failed": "Cela n’a pas fonctionné et rien n’a été modifié. Réessayez plus tard.",
        "about": "{channel} sur « {name} »",
        "topic": "{what} sur le sujet « {name} »",
        "marketing": "{channel} publicitaires",
        "transactional": "{channel} de service",
        "all": "de publicité",
        "email": "d’e-mails",
        "sms": "de SMS",
        "push": "de notifications",
        "*": "de messages",
    },
}
_LANGUAGE = re.compile(r"\s*([a-z]{2})\b(?:[^,;]*)(?:;\s*q=([0-9.]+))?", re.IGNORECASE)


def language_of(accepted: str) -> str:
    """Return the language of the page for an ``Accept-Language`` header: the first known one of the highest weight."""
    best, weight = "en", 0.0
    for part in accepted.split(",")[:20]:
        match = _LANGUAGE.match(part)
        if match is not None and match[1].lower() in WORDS:
            try:
                given = float(match[2] or 1)
            except ValueError:
                continue
            if given > weight:
                best, weight = match[1].lower(), given
    return best


def what_of(scope: UnsubscribeScope, words: Mapping[str, str]) -> str:
    """Return exactly what a link stops, for people."""
    if scope.is_whole and scope.channel is None and scope.purpose is Purpose.MARKETING:
        return words["all"]
    what = words.get(scope.channel or "*", words["*"])
    if scope.purpose is not None:
        what = words.get(scope.purpose.value, "{channel}").format(channel=what)
    name = title_of(scope.type) if scope.type is not None else scope.category
    if name is not None:
        what = words["about"].format(channel=what, name=name)
    return what if scope.topic is None else words["topic"].format(what=what, name=scope.topic)
