"""Apache James' IMAP dialogues: those that apply run against our server, the others are listed here with the reason."""

from __future__ import annotations

import pytest

from tests.imap.conftest import MailServer
from tests.imap.james import MPT, Runner

ALONE = [
    "Append",
    "AppendExamineInbox",
    "AppendSelectInbox",
    "AppendToSelected",
    "BadTag",
    "BogusCommand",
    "Capability",
    "ComplexMail",
    "ConcurrentAppendUIDToMSNMapping",
    "ConcurrentCrossExpunge",
    "ConcurrentDeleteSelected",
    "ConcurrentExpungeResponse",
    "ConcurrentExpungeUIDToMSNMapping",
    "ConcurrentFetchResponse",
    "ConcurrentRenameSelected",
    "ConcurrentRenameSelectedSub",
    "CondstoreDisable",
    "Delete",
    "DeleteInbox",
    "ExamineEmpty",
    "FetchAllEmptyMailbox",
    "FetchHeaderFields",
    "FetchHeaderFieldsNot",
    "FetchRFC822Mixed",
    "IllegalTag",
    "InboxAddMessages",
    "InboxDeleteMessages",
    "JustTag",
    "ListMailboxes",
    "ListOnly",
    "ListPercentWildcard",
    "ListWithPercentWildcardInMailboxName",
    "Logout",
    "NoCommand",
    "NoTag",
    "Noop",
    "PeekMultipartAlternative",
    "PeekMultipartMixed",
    "Recent",
    "SelectAppend",
    "SelectEmpty",
    "SelectInbox",
    "SelectUnseen",
    "SelectedStateCleanup",
    "SelectedStateSetup",
    "StringArgs",
    "UidSearchAtomsIndexer",
    "UserFlagsSupport",
    "Welcome",
]

SELECTED = [
    "Check",
    "Copy",
    "Expunge",
    "FetchBodyNoSection",
    "FetchEnvelope",
    "FetchMultipleMessages",
    "FetchPeek",
    "FetchRFC822",
    "FetchRFC822Text",
    "FetchText",
    "Move",
    "RenameInbox",
    "Search",
    "Store",
]

NOT_OURS = {
    "an extension of later parts or of James only (ACL, METADATA, QUOTA, REPLACE, OBJECTID, SAVEDATE, PARTIAL, MODSEQ, SAVE, XLIST)": """
        ACLCommandsOnOtherUser ACLCommandsOnOwner Rights ListPlus Metadata MetadataWithBinaryData MetadataWithLimitation Quota Replace
        ObjectId FetchNILSaveDate FetchSaveDate SearchSaveDate FetchPartial SearchOptionAggregations SearchOptionSave CondstoreEnable XList
        aclIntegration""",
    "sharing between users, or James' own namespaces and users": """
        ListWithSharedMailbox RenameSharedMailbox SharedMailbox SharingAccessL SharingAccessLR SharingAccessLRA SharingAccessLRI
        SharingAccessLRK SharingAccessLRS SharingAccessLRT SharingAccessLRTE SharingAccessLRW SharingAccessLRX Namespace ListNamespace
        Authenticate AuthenticatePlain Login LoginThreeStrikes""",
    "NO where we say BAD to a command of another state": "ValidAuthenticated ValidNonAuthenticated ValidSelected",
    "FETCH with an empty list, or a macro inside a list: not in the grammar": """
        FetchMultipartBodyStructure FetchSimpleBodyStructure FetchStructureComplex FetchSingleMessage""",
    "another order of the items or attributes of one response": "Status ListSubscribed Uid Rename RenameSelected",
    "BAD where we say NO to a name, or a limit on names that is theirs": "Create CreateErrorWithLongName",
    "RECENT repeated after EXPUNGE, ID NIL, BODY[1.TEXT] of a part that is no message: not asked for by the RFCs": "AppendExpunge Id FetchRFC822Header",
    "a message number is used before the client was told of it": "ConcurrentExistsResponse",
    "BAD where RFC 3501 6.4.8 says that a UID that isn't there is no error": "MoveNoMSG",
    "BODY looks into text/* only, not into application/xhtml+xml or the preamble": "SearchAtoms SearchCombinations UidSearchAtoms UidSearchCombinations",
    "deleting a name that is a level only, with other separators than ours in the names": "RenameHierarchy ListSpecialChar",
    "their expectation is a regular expression that doesn't match its own text": "FetchInternalDate PeekMultipartMixedComplex",
    "\\Recent kept over a second SELECT, which RFC 3501 1.2 calls another session": """
        BodyPartialFetch ExamineReadOnly ExpungeBasics FetchMultipartAlternative FetchMultipartMixed FetchMultipartMixedComplex
        HeaderPartialFetch MimePartialFetch TextPartialFetch""",
    "a space at the end of a command": "Subscribe",
    "BODYSTRUCTURE with their own sizes of embedded parts": "FetchStructureEmbedded",
}

pytestmark = pytest.mark.material("mail/james-mpt/imap")


def test_every_dialogue_is_in_one_list() -> None:
    listed = [*ALONE, *SELECTED, *(name for names in NOT_OURS.values() for name in names.split())]
    assert sorted(listed) == sorted({*(path.stem for path in MPT.glob("*.test")), "aclIntegration"})


@pytest.mark.parametrize("name", ALONE)
async def test_alone(small_house: MailServer, name: str) -> None:
    await Runner(small_house).run(name)


@pytest.mark.parametrize("name", SELECTED)
async def test_with_four_messages_selected(small_house: MailServer, name: str) -> None:
    runner = Runner(small_house)
    await runner.run("SelectedStateSetup")
    await runner.run(name)
