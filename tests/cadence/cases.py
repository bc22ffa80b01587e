"""What the ticks are compared for: 60 expressions, 200 zones, ten years."""

from datetime import datetime

# In these years Samoa skips a day, Russia moves twice, Caracas and Pyongyang move by half an hour, Casey by three, and
# Ramadan interrupts some summers.
START, END = datetime(2011, 1, 1), datetime(2021, 1, 1)

# Each of their ticks is computed in each zone.
SPARSE = (
    "0 0 * * *",
    "30 2 * * *",
    "15 1 * * *",
    "0 3 * * *",
    "59 23 * * *",
    "1 0 * * *",
    "45 2 * * *",
    "0 2 * * *",
    "30 0,1,2,3 * * *",
    "0 0,12 * * *",
    "0 */6 * * *",
    "0 */5 * * *",
    "0 9-17 * * *",
    "0 3 * * MON-FRI",
    "0 3 * * 1-5",
    "30 8 * * SAT,SUN",
    "0 6 * * 7",
    "0 6 * * 0",
    "0 0 * * FRI-MON",
    "0 0 * * 5-7",
    "0 1 * * 1-6/2",
    "30 1 * * */2",
    "0 0 1 * *",
    "30 2 1,15 * *",
    "0 0 */10 * *",
    "0 0 2-30/7 * *",
    "0 4 31 * *",
    "0 4 30 * *",
    "0 4 29 2 *",
    "0 0 29,30,31 * *",
    "0 0 L * *",
    "30 2 L * *",
    "0 0 1,L * *",
    "0 0 15,L 2,11 *",
    "0 0 L 2 *",
    "0 0 13 * FRI",
    "30 2 1 * SUN",
    "0 0 L * MON",
    "0 0 31 * 1#5",
    "0 2 * * SUN#1",
    "30 2 * * SUN#2",
    "30 2 * * 0#4,6#1",
    "30 2 * * SUNL",
    "0 0 * * 5L",
    "0 0 * * L4",
    "0 12 * * MON,FRIL",
    "0 0 * 2 MON#5",
    "30 2 * 3,10 SUN",
    "0 2 * MAR-MAY *",
    "0 0 1 */3 *",
    "0 0 1 1/4 *",
    "@daily",
    "@weekly",
    "@monthly",
    "@yearly",
    "@hourly",
    "7,37 * * * *",
    "*/15 9-17 * * 1-5",
)
# So many that far from a change of the clock only the first tick of each day is computed in each zone.
DENSE = ("* * * * *", "*/5 * * * *")
EXPRESSIONS = SPARSE + DENSE


# One of each history that there is in these years, and others, by name.
_NAMES = """
    Africa/Abidjan Africa/Accra Africa/Addis_Ababa Africa/Algiers Africa/Asmara Africa/Bangui Africa/Blantyre
    Africa/Bujumbura Africa/Cairo Africa/Casablanca Africa/Ceuta Africa/El_Aaiun Africa/Khartoum Africa/Sao_Tome
    Africa/Tripoli Africa/Windhoek America/Adak America/Anchorage America/Anguilla America/Antigua
    America/Araguaina America/Argentina/Buenos_Aires America/Argentina/Catamarca America/Asuncion America/Atikokan
    America/Atka America/Bahia America/Bahia_Banderas America/Belize America/Bogota America/Boise
    America/Cambridge_Bay America/Campo_Grande America/Cancun America/Caracas America/Chicago America/Chihuahua
    America/Ciudad_Juarez America/Costa_Rica America/Coyhaique America/Creston America/Cuiaba America/Dawson
    America/Dawson_Creek America/Detroit America/Eirunepe America/Ensenada America/Fort_Nelson America/Fort_Wayne
    America/Glace_Bay America/Godthab America/Goose_Bay America/Grand_Turk America/Halifax America/Havana
    America/Indiana/Indianapolis America/Indiana/Knox America/Indiana/Tell_City America/Juneau America/Los_Angeles
    America/Mazatlan America/Merida America/Metlakatla America/Mexico_City America/Miquelon America/Montevideo
    America/New_York America/Nome America/Noronha America/Nuuk America/Port-au-Prince America/Porto_Acre
    America/Punta_Arenas America/Santa_Isabel America/Santiago America/Sao_Paulo America/Scoresbysund
    America/St_Johns America/Whitehorse Antarctica/Casey Antarctica/Davis Antarctica/DumontDUrville
    Antarctica/Macquarie Antarctica/Mawson Antarctica/McMurdo Antarctica/Palmer Antarctica/South_Pole
    Antarctica/Troll Antarctica/Vostok Arctic/Longyearbyen Asia/Almaty Asia/Amman Asia/Anadyr Asia/Aqtau Asia/Baku
    Asia/Bangkok Asia/Barnaul Asia/Beirut Asia/Bishkek Asia/Brunei Asia/Calcutta Asia/Chita Asia/Choibalsan
    Asia/Chongqing Asia/Colombo Asia/Damascus Asia/Dili Asia/Dubai Asia/Famagusta Asia/Gaza Asia/Hebron Asia/Hovd
    Asia/Irkutsk Asia/Istanbul Asia/Jayapura Asia/Jerusalem Asia/Kabul Asia/Kamchatka Asia/Kathmandu Asia/Katmandu
    Asia/Khandyga Asia/Kolkata Asia/Krasnoyarsk Asia/Magadan Asia/Muscat Asia/Nicosia Asia/Novokuznetsk
    Asia/Novosibirsk Asia/Omsk Asia/Pyongyang Asia/Qyzylorda Asia/Rangoon Asia/Sakhalin Asia/Srednekolymsk
    Asia/Tehran Asia/Tel_Aviv Asia/Tokyo Asia/Tomsk Asia/Ulaanbaatar Asia/Ust-Nera Asia/Vladivostok Asia/Yakutsk
    Asia/Yangon Asia/Yekaterinburg Asia/Yerevan Atlantic/Azores Atlantic/Canary Atlantic/Cape_Verde
    Atlantic/Faeroe Atlantic/Faroe Atlantic/Jan_Mayen Atlantic/South_Georgia Australia/ACT Australia/Adelaide
    Australia/Brisbane Australia/Broken_Hill Australia/Canberra Australia/Darwin Australia/Eucla Australia/LHI
    Australia/Lord_Howe Australia/North Australia/South Europe/Astrakhan Europe/Athens Europe/Berlin
    Europe/Istanbul Europe/Kaliningrad Europe/Kirov Europe/London Europe/Minsk Europe/Moscow Europe/Samara
    Europe/Saratov Europe/Simferopol Europe/Ulyanovsk Europe/Volgograd Pacific/Apia Pacific/Auckland
    Pacific/Bougainville Pacific/Chatham Pacific/Easter Pacific/Efate Pacific/Enderbury Pacific/Fakaofo
    Pacific/Fiji Pacific/Funafuti Pacific/Gambier Pacific/Guadalcanal Pacific/Honolulu Pacific/Johnston
    Pacific/Kanton Pacific/Kiritimati Pacific/Kwajalein Pacific/Marquesas Pacific/Midway Pacific/Niue
    Pacific/Norfolk Pacific/Pitcairn Pacific/Tongatapu
"""
ZONES = _NAMES.split()
